"""What lies on the ground: carriageways, crossings, blocks, parks, water, bridges, the land around."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import shapely.affinity

from addressvlm.cities.minicity.buildings import BASE_M, linear
from addressvlm.cities.minicity.config import MiniCityConfig
from addressvlm.cities.minicity.look import MARKINGS, PAVINGS, Looks
from addressvlm.cities.minicity.lots import block_pavement
from addressvlm.cities.minicity.mesh import GROUND, PLAIN, ROAD, STRIPES, WATER, MeshBuilder
from addressvlm.cities.minicity.plan import Block, Plan, Street, road_area

Floats = npt.NDArray[np.float64]

WATER_M = -3.0
_PAVING_RGB = {
    "asphalt": (0.13, 0.13, 0.135),
    "dark asphalt": (0.065, 0.066, 0.072),
    "cobbles": (0.20, 0.19, 0.18),
    "concrete slabs": (0.33, 0.32, 0.30),
    "red brick paving": (0.29, 0.13, 0.09),
}
_PAVEMENT_RGB: dict[str, tuple[tuple[float, float, float], int]] = {  # colour and pattern of GROUND
    "concrete": ((0.40, 0.39, 0.37), 0),
    "grey slabs": ((0.33, 0.34, 0.35), 1),
    "red brick": ((0.36, 0.17, 0.12), 2),
    "sand-coloured slabs": ((0.50, 0.42, 0.30), 1),
    "dark cobbles": ((0.18, 0.18, 0.19), 6),
}
_YARD_RGB: dict[str, tuple[tuple[float, float, float], int]] = {
    "grass": ((0.11, 0.22, 0.05), 3),
    "garden": ((0.13, 0.24, 0.06), 7),
    "gravel": ((0.40, 0.36, 0.29), 4),
    "concrete": ((0.34, 0.33, 0.32), 1),
}
_LAWN = (0.10, 0.24, 0.045)


@dataclass(frozen=True)
class Crossing:
    """Where two streets meet: their indices, the point, and the unit directions of both there."""

    streets: tuple[int, int]
    point: Floats
    ways: tuple[Floats, Floats]


def find_crossings(streets: Sequence[Street]) -> list[Crossing]:
    """All crossings and T-junctions, ordered by street."""
    crossings = []
    for one in range(len(streets)):
        for two in range(one + 1, len(streets)):
            shared = streets[one].path.intersection(streets[two].path)
            for point in shapely.get_coordinates(shared):
                ways = (direction(streets[one].path, point), direction(streets[two].path, point))
                if abs(float(ways[0][0] * ways[1][1] - ways[0][1] * ways[1][0])) > 0.25:
                    crossings.append(Crossing((one, two), point, ways))
    return crossings


def direction(path: Any, point: Floats) -> Floats:
    """The unit direction of a path at the place nearest to `point`."""
    spot = shapely.Point(point)
    part = min(shapely.get_parts(path), key=lambda piece: piece.distance(spot))
    place = part.project(spot)
    ahead = np.array(part.interpolate(min(place + 1.5, part.length)).coords[0])
    behind = np.array(part.interpolate(max(place - 1.5, 0.0)).coords[0])
    way = ahead - behind
    return np.asarray(way / np.hypot(*way))


def add_ground(
    builder: MeshBuilder, config: MiniCityConfig, plan: Plan, looks: Looks, crossings: Sequence[Crossing]
) -> None:
    """Everything flat, from the fields around the city to zebra crossings."""
    land = plan.limit.difference(plan.water)
    base = builder.thing("road", -1, [*_PAVING_RGB["asphalt"], 0])
    builder.polygon(land, -0.02, GROUND, base)
    _outskirts(builder, plan)
    for index, street in enumerate(plan.streets):
        _carriageway(builder, index, street, looks)
    roads = [road_area(street) for street in plan.streets]
    for one, two in sorted({crossing.streets for crossing in crossings}):
        builder.polygon(roads[one].intersection(roads[two]).buffer(0.4), 0.012, GROUND, base)
    for crossing in crossings:
        _zebras(builder, plan, looks, crossing)
    for number, block in enumerate(plan.blocks):
        _block(builder, config, block, number, looks)


def _outskirts(builder: MeshBuilder, plan: Plan) -> None:
    """Fields to the horizon, low hills behind them, and water if there is a river."""
    around = shapely.box(-4000, -4000, 4000, 4000)
    fields = builder.thing("fields", 0, [0.20, 0.30, 0.08, 5])
    builder.polygon(around.difference(plan.limit).difference(plan.water), -0.02, GROUND, fields)
    hills = builder.thing("hills", 0, [0.11, 0.20, 0.09, 3])
    angles = np.arange(97) / 96 * 2 * np.pi
    waves = 0.5 + 0.3 * np.sin(3 * angles + 1.0) + 0.2 * np.sin(7 * angles + 2.0)
    rings = [(1500.0, -1.0), (1900.0, 60.0), (2300.0, 110.0), (2900.0, 20.0)]
    shells = [np.column_stack([r * np.cos(angles), r * np.sin(angles), h * waves]) for r, h in rings]
    for near, far in zip(shells, shells[1:], strict=False):
        for i in range(96):
            builder.quad([near[i], far[i], far[i + 1], near[i + 1]], GROUND, hills)
    if not plan.water.is_empty:
        water = builder.thing("river", 0, [0.05, 0.12, 0.13])
        builder.polygon(plan.water.intersection(around), WATER_M, WATER, water)
        wall = builder.thing("embankment", 0, [0.30, 0.28, 0.25, 0.5])
        for part in shapely.get_parts(plan.water.intersection(around)):
            ring = shapely.get_coordinates(shapely.segmentize(part.exterior, 200.0))
            for a, b in zip(ring[:-1], ring[1:], strict=True):
                builder.quad([(*b, WATER_M), (*a, WATER_M), (*a, 0.0), (*b, 0.0)], PLAIN, wall, flag=5)


def offset_points(path: Any, offset: Any) -> tuple[Floats, Floats, Floats]:
    """Points of a line, their distances along it, and the points `offset` metres to their left (mitred)."""
    points = shapely.get_coordinates(path)
    steps = np.diff(points, axis=0)
    lengths = np.hypot(*steps.T)
    ways = steps / lengths[:, None]
    before, after = np.vstack([ways[:1], ways]), np.vstack([ways, ways[-1:]])
    middle = before + after
    middle /= np.hypot(*middle.T)[:, None]
    stretch = 1 / np.maximum(0.5, (middle * after).sum(axis=1))
    left = np.column_stack([-middle[:, 1], middle[:, 0]]) * stretch[:, None]
    return points, np.concatenate([[0.0], np.cumsum(lengths)]), points + left * offset


def _carriageway(builder: MeshBuilder, index: int, street: Street, looks: Looks) -> None:
    look = looks.streets[index]
    half = street.width_m / 2
    params = [
        *_PAVING_RGB[look.paving],
        PAVINGS.index(look.paving),
        MARKINGS.index(look.marking),
        street.width_m,
    ]
    thing = builder.thing("road", index, params)
    for part in shapely.get_parts(street.path):
        points, along, left = offset_points(part, half)
        right = offset_points(part, -half)[2]
        for i in range(len(points) - 1):
            way = points[i + 1] - points[i]
            way = way / np.hypot(*way)
            across = np.array([-way[1], way[0]])
            axes = np.array([*way, 0, along[i] - way @ points[i], *across, 0, -across @ points[i]])
            a, b, c, d = ((*point, 0.0) for point in (right[i], right[i + 1], left[i + 1], left[i]))
            builder.soup([[a, b, c], [a, c, d]], ROAD, thing, axes=np.tile(axes, (2, 1)))


def _zebras(builder: MeshBuilder, plan: Plan, looks: Looks, crossing: Crossing) -> None:
    """Striped crossings on the arms of a junction, of those streets that have them."""
    sine = abs(float(crossing.ways[0][0] * crossing.ways[1][1] - crossing.ways[0][1] * crossing.ways[1][0]))
    thing = builder.thing("zebra", 0, [0.0] * 20 + [0.10, 0.10, 0.105, 1.1])
    for own, other in ((0, 1), (1, 0)):
        street, across = plan.streets[crossing.streets[own]], plan.streets[crossing.streets[other]]
        if not looks.streets[crossing.streets[own]].crosswalks or across.rank == 2:
            continue
        way = crossing.ways[own]
        left = np.array([-way[1], way[0]])
        cosine = abs(float(crossing.ways[0] @ crossing.ways[1]))
        start = (across.width_m / 2 + street.width_m / 2 * cosine) / sine + 1.2
        half = street.width_m / 2 - 0.3
        for side in (1.0, -1.0):
            near, far = crossing.point + way * side * start, crossing.point + way * side * (start + 3.0)
            if street.path.distance(shapely.Point(far)) > 0.6:
                continue
            corners = [near - left * half * side, far - left * half * side, far + left * half * side]
            corners.append(near + left * half * side)
            a, b, c, d = ((*point, 0.02) for point in corners)
            builder.quad([b, c, d, a], STRIPES, thing)


def _block(builder: MeshBuilder, config: MiniCityConfig, block: Block, number: int, looks: Looks) -> None:
    district = looks.districts[block.district]
    rgb, pattern = _PAVEMENT_RGB[district.pavement]
    paved = builder.thing("pavement", block.district, [*rgb, pattern])
    way = _longest_side(block.area)
    if block.kind == "built":
        ring, inside = block_pavement(block, looks.districts)
        yard_rgb, yard_pattern = _YARD_RGB[district.yard]
        yard = builder.thing("yard", block.district, [*yard_rgb, yard_pattern])
    else:
        inside = block.area.buffer(-2.0, join_style="mitre")
        ring = block.area.difference(inside)
        yard = builder.thing(block.kind, number, [*_LAWN, 3])
    builder.polygon(ring, BASE_M, GROUND, paved, along=way)
    builder.polygon(inside, BASE_M, GROUND, yard, along=way)
    kerb = builder.thing("kerb", 0, [0.45, 0.44, 0.42])
    points = shapely.get_coordinates(shapely.orient_polygons(block.area).exterior)
    for a, b in zip(points[:-1], points[1:], strict=True):
        builder.quad([(*a, -0.02), (*b, -0.02), (*b, BASE_M), (*a, BASE_M)], PLAIN, kerb)
    if block.kind == "park":
        _park(builder, config, inside, number)


def _park(builder: MeshBuilder, config: MiniCityConfig, area: Any, number: int) -> None:
    """Sandy paths through the lawn and, where there is room, a pond."""
    rng = config.rng(40, number)
    sand = builder.thing("path", number, [0.50, 0.40, 0.26, 4])
    middle = shapely.get_coordinates(area.centroid)[0]
    rim = (
        area.exterior if area.geom_type == "Polygon" else max(area.geoms, key=lambda part: part.area).exterior
    )
    gates = [
        shapely.get_coordinates(rim.interpolate(share, normalized=True))[0] for share in rng.uniform(0, 1, 4)
    ]
    bends = [(gate + middle) / 2 + rng.uniform(-9, 9, 2) for gate in gates]
    lines = [shapely.LineString([gate, bend, middle]) for gate, bend in zip(gates, bends, strict=True)]
    ways = shapely.union_all([line.buffer(1.6) for line in lines]).intersection(area)
    if area.area > 9000:
        spot = shapely.Point(middle + rng.uniform(-12, 12, 2))
        pond = shapely.affinity.scale(spot.buffer(13), 1.0, 0.65).intersection(area.buffer(-8))
        builder.polygon(pond.buffer(2.2), BASE_M + 0.05, GROUND, sand)
        builder.polygon(pond, BASE_M + 0.08, WATER, builder.thing("pond", number, [0.06, 0.13, 0.12]))
    builder.polygon(ways, BASE_M + 0.03, GROUND, sand)


def _longest_side(area: Any) -> Floats:
    points = shapely.get_coordinates(area.exterior)
    sides = np.diff(points, axis=0)
    side = sides[int(np.argmax(np.hypot(*sides.T).round(2)))]
    return np.asarray(side / np.hypot(*side))


def add_bridges(builder: MeshBuilder, config: MiniCityConfig, plan: Plan) -> None:
    """Decks with pavements and railings where streets cross water; wide ones carry a coloured arch."""
    if plan.water.is_empty:
        return
    rng = config.rng(41)
    for index, street in enumerate(plan.streets):
        wet = street.path.intersection(plan.water.buffer(2.0))
        for part in shapely.get_parts(wet):
            if part.geom_type == "LineString" and part.length > 10 and part.intersects(plan.water):
                _bridge(builder, index, street, part, rng)


def _bridge(builder: MeshBuilder, index: int, street: Street, deck: Any, rng: np.random.Generator) -> None:
    colour = str(rng.choice(["gold", "dark red", "teal", "silver", "green"]))
    thing = builder.thing("bridge", index, [*linear(colour)])
    stone = builder.thing("pavement", -1, [0.36, 0.35, 0.33, 0])
    half = street.width_m / 2
    for side in (1.0, -1.0):
        _strip(builder, deck, side * half, side * (half + 2.4), -1.1, BASE_M, stone, GROUND)
        _strip(builder, deck, side * (half + 2.2), side * (half + 2.4), BASE_M, BASE_M + 0.25, thing, PLAIN)
        _strip(
            builder,
            deck,
            side * (half + 2.25),
            side * (half + 2.35),
            BASE_M + 1.0,
            BASE_M + 1.1,
            thing,
            PLAIN,
        )
        _posts(builder, deck, side * (half + 2.3), thing)
        if street.rank == 0:
            _arch(builder, deck, side * (half + 0.5), thing)


def _strip(
    builder: MeshBuilder,
    path: Any,
    one: float,
    two: float,
    low: float,
    high: float,
    thing: int,
    material: int,
) -> None:
    """A long box over the band between two offsets from a line."""
    first, second = offset_points(path, min(one, two))[2], offset_points(path, max(one, two))[2]
    for i in range(len(first) - 1):
        a, b, c, d = first[i], first[i + 1], second[i + 1], second[i]
        builder.quad([(*a, high), (*b, high), (*c, high), (*d, high)], material, thing)
        builder.quad([(*a, low), (*b, low), (*b, high), (*a, high)], PLAIN, thing)
        builder.quad([(*c, low), (*d, low), (*d, high), (*c, high)], PLAIN, thing)


def _posts(builder: MeshBuilder, path: Any, offset: float, thing: int) -> None:
    for point in shapely.get_coordinates(_moved(path, offset, 2.0)):
        pole(builder, point, BASE_M, BASE_M + 1.05, 0.05, thing)


def _moved(path: Any, offset: float, spacing: float) -> Any:
    line = shapely.LineString(offset_points(path, offset)[2])
    count = max(2, int(line.length / spacing))
    return [line.interpolate((i + 0.5) / count, normalized=True) for i in range(count)]


def pole(builder: MeshBuilder, point: Floats, low: float, high: float, radius: float, thing: int) -> None:
    """A square post."""
    x, y = float(point[0]), float(point[1])
    ring = [
        (x - radius, y - radius),
        (x + radius, y - radius),
        (x + radius, y + radius),
        (x - radius, y + radius),
    ]
    builder.prism(ring, low, high, PLAIN, thing)


def _arch(builder: MeshBuilder, path: Any, offset: float, thing: int) -> None:
    """A steel arch along one side of a bridge, with hangers."""
    points = shapely.get_coordinates(_moved(path, offset, 3.2))
    share = np.linspace(-1, 1, len(points))
    heights = BASE_M + 1.0 + min(11.0, 0.16 * path.length) * (1 - share**2)
    for i in range(len(points) - 1):
        way = points[i + 1] - points[i]
        side = np.array([-way[1], way[0]]) / np.hypot(*way) * 0.3
        for sign in (1, -1):
            a, b = points[i] + sign * side, points[i + 1] + sign * side
            low = [(*a, heights[i] - 0.5), (*b, heights[i + 1] - 0.5)]
            builder.quad([*low, (*b, heights[i + 1] + 0.5), (*a, heights[i] + 0.5)], PLAIN, thing)
        for lift in (0.5, -0.5):
            near = [
                (*(points[i] - side), heights[i] + lift),
                (*(points[i + 1] - side), heights[i + 1] + lift),
            ]
            far = [(*(points[i + 1] + side), heights[i + 1] + lift), (*(points[i] + side), heights[i] + lift)]
            builder.quad([*near, *far], PLAIN, thing)
        pole(builder, points[i], BASE_M, float(heights[i]), 0.09, thing)
