"""The plan of a city: named streets, blocks, parks, water and districts in metres."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely import STRtree
from shapely.ops import polygonize

from addressvlm.cities.minicity.config import MiniCityConfig
from addressvlm.cities.minicity.layout import OVERLAP_M, PRECISION_M, WIDTHS, Layout, Line, draw_layout
from addressvlm.cities.minicity.names import Namer

_RIVER_COST, _AVENUE_COST = 900.0, 160.0  # metres that a border is worth when districts grow


@dataclass(frozen=True)
class Street:
    """A named street: centre line, width of the carriageway, rank (0 avenue, 1 street, 2 lane)."""

    name: str
    path: Any  # LineString or MultiLineString
    width_m: float
    rank: int
    family: str


@dataclass(frozen=True)
class District:
    """A named district; the districts tile the city."""

    name: str
    area: Any  # Polygon


@dataclass(frozen=True)
class Block:
    """Land between kerbs: `kind` is "built", "park" or "quay" (the strip along the water)."""

    area: Any  # Polygon
    kind: str
    district: int


@dataclass(frozen=True)
class Plan:
    """Everything of a city that has a place on the ground."""

    limit: Any  # Polygon
    water: Any  # Polygon or MultiPolygon, reaching beyond the limit; empty without a river
    streets: tuple[Street, ...]
    districts: tuple[District, ...]
    blocks: tuple[Block, ...]


def draw_plan(config: MiniCityConfig) -> Plan:
    """Draw the plan of a city from its config alone."""
    rng = config.rng(2)
    layout = draw_layout(config)
    water = _water(layout)
    edges, owners = _edges(layout)
    parks = _park_faces(rng, edges, owners, layout, water, config)
    edges, owners = _without_inner(edges, owners, parks)
    paths = [
        shapely.line_merge(
            shapely.union_all([edge for edge, own in zip(edges, owners, strict=True) if own == index])
        )
        for index in range(len(layout.lines))
    ]
    namer = Namer(config.naming, config.rng(3))
    streets = _streets(layout.lines, paths, namer)
    faces = _faces(edges)
    groups = _grown(faces, edges, owners, layout, config.district_count)
    names = namer.districts(int(groups.max()) + 1)
    districts = tuple(
        District(
            name, shapely.union_all([face for face, own in zip(faces, groups, strict=True) if own == index])
        )
        for index, name in enumerate(names)
    )
    blocks = _blocks(faces, groups, parks, streets, water)
    return Plan(layout.limit, water, streets, districts, blocks)


def _water(layout: Layout) -> Any:
    return shapely.union_all(
        [
            river.buffer(layout.river_width_m / 2, cap_style="flat", join_style="mitre")
            for river in layout.rivers
        ]
    )


def _edges(layout: Layout) -> tuple[list[Any], list[int]]:
    """All lines cut at their crossings; owners: index of the street line, -1 limit, -2 river."""
    sources = [line.path for line in layout.lines]
    rivers = [river.intersection(layout.limit) for river in layout.rivers]
    noded = shapely.get_parts(
        shapely.union_all([*sources, *rivers, layout.limit.exterior], grid_size=PRECISION_M)
    )
    tree = STRtree([*sources, *rivers, layout.limit.exterior])
    middles = shapely.line_interpolate_point(noded, 0.5, normalized=True)
    nearest = tree.nearest(middles)
    codes = [*range(len(sources)), *[-2] * len(rivers), -1]
    keep = shapely.covers(layout.limit.buffer(0.05), noded) & ~_overlaps(noded)
    order = sorted(np.flatnonzero(keep), key=lambda index: shapely.get_coordinates(middles[index]).tolist())
    return [noded[index] for index in order], [codes[nearest[index]] for index in order]


def _overlaps(edges: Any) -> Any:
    """Mask of the short ends that reach over the line they were meant to end at."""
    ends = shapely.get_coordinates([edge.boundary for edge in edges]).reshape(-1, 2)
    _, place, count = np.unique(np.round(ends, 6), axis=0, return_inverse=True, return_counts=True)
    loose = (count[place.reshape(-1)] == 1).reshape(-1, 2).any(axis=1)
    return loose & (shapely.length(edges) < 3 * OVERLAP_M)


def _faces(edges: Sequence[Any]) -> list[Any]:
    """The pieces of land between lines, in a stable order."""
    found = [face for face in polygonize(edges) if face.area > 1.0]
    return sorted(found, key=lambda face: shapely.get_coordinates(face.representative_point()).tolist())


def _sides(edges: Sequence[Any], faces: Sequence[Any]) -> list[tuple[int, ...]]:
    """Indices of the faces on the two sides of each edge: one at the limit, one twice at a dead end."""
    tree = STRtree(faces)
    result = []
    for edge in edges:
        middle = np.asarray(edge.interpolate(0.5, normalized=True).coords[0])
        ahead = np.asarray(edge.interpolate(edge.length / 2 + min(0.5, edge.length / 4)).coords[0]) - middle
        normal = np.array([-ahead[1], ahead[0]]) / np.hypot(*ahead) * 0.2
        hits = [tree.query(shapely.Point(middle + side * normal), "intersects") for side in (1, -1)]
        result.append(tuple(int(hit[0]) for hit in hits if len(hit)))
    return result


def _park_faces(
    rng: np.random.Generator,
    edges: Sequence[Any],
    owners: Sequence[int],
    layout: Layout,
    water: Any,
    config: MiniCityConfig,
) -> list[Any]:
    """One larger park of up to three faces and a few small ones, apart from each other and from the river."""
    faces = _faces(edges)
    sides = _sides(edges, faces)
    usable = {
        index
        for index, face in enumerate(faces)
        if face.area > 2500
        and not face.intersects(water)
        and not face.touches(layout.limit.exterior)
        and face.area < 0.05 * layout.limit.area
    }
    parks: list[set[int]] = []
    for wanted in [3, *[1] * max(1, round(layout.limit.area / 350_000))]:
        free = sorted(
            index
            for index in usable
            if all(faces[index].distance(faces[other]) > 60 for park in parks for other in park)
        )
        if not free:
            break
        park = {int(rng.choice(free))}
        for side, owner in zip(sides, owners, strict=True):
            pair = set(side)
            minor = owner >= 0 and layout.lines[owner].rank > 0 and layout.lines[owner].family in "uvsplit"
            area = sum(faces[index].area for index in park | pair)
            if len(park) < wanted and minor and len(pair & park) == 1 and pair <= usable and area < 45_000:
                park |= pair
        parks.append(park)
    return [shapely.union_all([faces[index] for index in sorted(park)]) for park in parks]


def _without_inner(
    edges: Sequence[Any], owners: Sequence[int], parks: Sequence[Any]
) -> tuple[list[Any], list[int]]:
    """Take out the pieces of streets that run inside a park."""
    inner = [park.buffer(-1.0) for park in parks]
    kept = [
        (edge, owner)
        for edge, owner in zip(edges, owners, strict=True)
        if not any(edge.intersects(park) for park in inner)
    ]
    return [edge for edge, _ in kept], [owner for _, owner in kept]


def _streets(lines: Sequence[Line], paths: Sequence[Any], namer: Namer) -> tuple[Street, ...]:
    order = sorted(range(len(lines)), key=lambda index: (lines[index].family, lines[index].order))
    count: dict[str, int] = {}
    streets = []
    for index in order:
        line = lines[index]
        if paths[index].is_empty:
            continue
        place = count.setdefault(line.family, 0)
        count[line.family] += 1
        name = namer.street(line.family, place, line.rank)
        streets.append(Street(name, paths[index], WIDTHS[line.rank], line.rank, line.family))
    return tuple(sorted(streets, key=lambda street: street.name))


def _grown(
    faces: Sequence[Any], edges: Sequence[Any], owners: Sequence[int], layout: Layout, count: int
) -> Any:
    """The district of every face: regions grown from spread-out faces, loath to cross rivers and avenues."""
    centres = np.array([shapely.get_coordinates(face.centroid)[0] for face in faces])
    areas = np.array([face.area for face in faces])
    links: dict[int, list[tuple[int, float]]] = {index: [] for index in range(len(faces))}
    for pair, owner in zip(_sides(edges, faces), owners, strict=True):
        if len(set(pair)) == 2:
            barrier = _RIVER_COST if owner == -2 else _AVENUE_COST * (layout.lines[owner].rank == 0)
            cost = float(np.hypot(*(centres[pair[0]] - centres[pair[1]]))) + barrier
            links[pair[0]].append((pair[1], cost))
            links[pair[1]].append((pair[0], cost))
    count = min(count, len(faces))
    seeds = _spread(centres, areas, count)
    for _ in range(6):
        groups = _nearest_seed(links, seeds, len(faces))
        middles = [np.average(centres[groups == g], axis=0, weights=areas[groups == g]) for g in range(count)]
        seeds = [
            min(
                np.flatnonzero(groups == g).tolist(),
                key=lambda face: float(np.hypot(*(centres[face] - middles[g]))),
            )
            for g in range(count)
        ]
    groups = _nearest_seed(links, seeds, len(faces))
    reached = np.flatnonzero(groups >= 0).tolist()
    for face in np.flatnonzero(groups < 0).tolist():  # slivers too thin to have sides
        gaps = shapely.distance(faces[face], [faces[other] for other in reached])
        groups[face] = groups[reached[int(np.argmin(gaps))]]
    return groups


def _spread(centres: Any, areas: Any, count: int) -> list[int]:
    seeds = [int(np.argmax(areas))]
    while len(seeds) < count:
        gaps = np.min([np.hypot(*(centres - centres[seed]).T) for seed in seeds], axis=0)
        seeds.append(int(np.argmax(gaps)))
    return seeds


def _nearest_seed(links: dict[int, list[tuple[int, float]]], seeds: Sequence[int], count: int) -> Any:
    """The seed that each face is cheapest to reach from, -1 where no link leads."""
    groups = np.full(count, -1)
    queue = [(0.0, seed, group) for group, seed in enumerate(seeds)]
    while queue:
        cost, face, group = heapq.heappop(queue)
        if groups[face] < 0:
            groups[face] = group
            for other, step in links[face]:
                if groups[other] < 0:
                    heapq.heappush(queue, (round(cost + step, 3), other, group))
    return groups


def _blocks(
    faces: Sequence[Any], groups: Any, parks: Sequence[Any], streets: Sequence[Street], water: Any
) -> tuple[Block, ...]:
    roads = shapely.union_all([road_area(street) for street in streets])
    blocks = []
    for face, group in zip(faces, groups, strict=True):
        inside = face.representative_point()
        park = any(area.contains(inside) for area in parks)
        kind = "park" if park else "quay" if face.intersects(water) else "built"
        land = face.difference(roads).difference(water)
        rounded = land.buffer(-2.0).buffer(2.0, quad_segs=3)
        for part in shapely.get_parts(rounded):
            if part.area > 40:
                blocks.append(Block(part.simplify(0.05), kind, int(group)))
    return tuple(blocks)


def road_area(street: Street, wider_m: float = 0.0) -> Any:
    """The carriageway as a polygon, `wider_m` more on either side."""
    return street.path.buffer(street.width_m / 2 + wider_m, cap_style="flat", join_style="round", quad_segs=4)
