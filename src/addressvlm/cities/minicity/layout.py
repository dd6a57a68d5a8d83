"""The lines of a city before they have names: where streets, rivers and the city limit run.

All lengths are metres in the city's plane (x east, y north, origin in the middle). Lines are drawn in a
straight frame and then bent by one smooth, slightly turned map, so that crossings stay crossings.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import shapely.ops
from shapely import LineString, Point, Polygon

from addressvlm.cities.minicity.config import MiniCityConfig

Floats = npt.NDArray[np.float64]

WIDTHS = (13.5, 9.0, 6.4)  # carriageway of an avenue, a street, a lane
OVERLAP_M = 2.0  # ends reach this far over the line they end at
_STEP_M = 8.0
PRECISION_M = 0.001  # coordinates are rounded so that no later decision hangs on the last bit of a sine


@dataclass(frozen=True)
class Line:
    """A street to be: `rank` 0 avenue, 1 street, 2 lane; `family` and `order` are its place in the plan."""

    path: Any  # LineString or MultiLineString
    rank: int
    family: str
    order: int


@dataclass(frozen=True)
class Layout:
    """Lines of all streets, the city limit, rivers (centre lines that run far out of the city)."""

    limit: Any  # Polygon
    rivers: tuple[Any, ...]  # LineStrings
    river_width_m: float
    lines: tuple[Line, ...]


def draw_layout(config: MiniCityConfig) -> Layout:
    """Draw the lines of a city in the layout that the config names."""
    rng = config.rng(1)
    half = config.size_m / 2
    bend = _bend(rng, config)
    rivers, width = _rivers(rng, config, half)
    extras = _extras(rng, config, half)
    rest = max(4, config.streets - len(extras) - 2 * len(rivers))
    frame = _split_lines(rng, half, rest) if config.layout == "lanes" else _grid_lines(rng, half, rest)
    bent = [replace(line, path=_densified(_overlong(line.path), bend)) for line in (*extras, *frame)]
    limit = Polygon(_densified(_square(half), bend))
    flow = tuple(_densified(river, bend) for river in rivers)
    lines = _with_river(bent, flow, width, limit, bridges=max(2, round(config.size_m / 250)))
    lines = _uncluttered(lines)
    return Layout(limit, flow, width, tuple(lines))


def _square(half: float) -> Any:
    return LineString([(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half)])


def _bend(rng: np.random.Generator, config: MiniCityConfig) -> Callable[[Floats], Floats]:
    """A smooth map of the plane: waves (strong over hills, weak in a grid) and a turn against north."""
    strength = {"rivers": 0.030, "grid": 0.004, "lanes": 0.020}[config.layout] * config.size_m
    turn = np.radians(rng.uniform(-28, 28))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    waves = [
        (rng.normal(size=2), rng.uniform(0, 2 * np.pi), rng.normal(size=2), rng.uniform(0.55, 1.1))
        for _ in range(4)
    ]

    def bend(points: Floats) -> Floats:
        moved = points.copy()
        for direction, phase, push, length in waves:
            along = points @ (direction / np.linalg.norm(direction))
            wave = np.sin(2 * np.pi * along / (length * config.size_m) + phase)
            moved += strength * wave[:, None] * (push / np.linalg.norm(push))
        return np.asarray(np.round(moved @ rotation.T / PRECISION_M) * PRECISION_M)

    return bend


def _densified(path: Any, bend: Callable[[Floats], Floats]) -> Any:
    dense = shapely.segmentize(path, _STEP_M)
    return shapely.transform(dense, bend).simplify(0.12)


def _overlong(path: Any) -> Any:
    """The line with straight ends `_OVERLAP_M` longer, so that it surely meets what it ends at once bent."""
    points = shapely.get_coordinates(path)
    for end, before in ((0, 1), (-1, -2)):
        way = points[end] - points[before]
        points[end] += way / np.hypot(*way) * OVERLAP_M
    return LineString(points)


def _positions(rng: np.random.Generator, count: int, half: float) -> Floats:
    """`count` places between -half and half with uneven gaps."""
    gaps = rng.uniform(0.65, 1.55, count + 1)
    gaps[[0, -1]] *= 0.65
    return np.asarray((np.cumsum(gaps)[:-1] / gaps.sum() * 2 - 1) * half)


def _grid_lines(rng: np.random.Generator, half: float, count: int) -> list[Line]:
    """Two families of lines; many end at a line of the other family, so that blocks differ in size."""
    across = max(2, round(count * rng.uniform(0.44, 0.56)))
    places = (_positions(rng, across, half), _positions(rng, max(2, count - across), half))
    lines = []
    for family, (own, other) in enumerate((places, places[::-1])):
        avenue = int(rng.integers(0, 3))
        for order, place in enumerate(own):
            rank = 0 if order % 4 == avenue else int(rng.random() < 0.25) + 1
            low, high = _span(rng, other, half, rank)
            ends = [(place, low), (place, high)] if family == 0 else [(low, place), (high, place)]
            lines.append(Line(LineString(ends), rank, "uv"[family], order))
    return sorted(lines, key=lambda line: line.rank)


def _span(rng: np.random.Generator, other: Floats, half: float, rank: int) -> tuple[float, float]:
    ends = [-half, half]
    if rank > 0 and len(other) >= 4 and rng.random() < 0.45:
        side = int(rng.integers(2))
        index = int(rng.integers(1, max(2, len(other) // 2)))
        ends[side] = float(other[index] if side == 0 else other[-1 - index])
    return ends[0], ends[1]


def _split_lines(rng: np.random.Generator, half: float, count: int) -> list[Line]:
    """Halve the largest piece of land again and again with a tilted line: irregular blocks, T-junctions."""
    pieces: list[Any] = [Polygon([(-half, -half), (half, -half), (half, half), (-half, half)])]
    lines: list[Line] = []
    while len(lines) < count:
        piece = max(pieces, key=lambda polygon: polygon.area)
        pieces.remove(piece)
        cut = _halving(rng, piece)
        pieces.extend(part for part in shapely.ops.split(piece, cut).geoms)
        rank = 0 if len(lines) < 3 else 1 if len(lines) < count * 0.5 else 2
        lines.append(Line(cut.intersection(piece), rank, "split", len(lines)))
    return lines


def _halving(rng: np.random.Generator, piece: Any) -> Any:
    corners = shapely.get_coordinates(piece.minimum_rotated_rectangle)[:4]
    sides = np.diff(corners[[0, 1, 2]], axis=0)
    lengths = np.linalg.norm(sides, axis=1)
    longer = int(lengths[1] > lengths[0])
    along, across = sides[longer] / lengths[longer], sides[1 - longer] / lengths[1 - longer]
    middle = corners[1] + (sides[1] if longer else -sides[0]) * rng.uniform(0.36, 0.64)
    middle = middle + sides[1 - longer] * (-0.5 if longer else 0.5)
    tilt = across + along * rng.uniform(-0.22, 0.22)
    return LineString([middle - tilt * 3000, middle + tilt * 3000])


def _rivers(rng: np.random.Generator, config: MiniCityConfig, half: float) -> tuple[list[Any], float]:
    """Centre lines in the frame; a river runs on far beyond the city."""
    if config.layout == "grid" or config.size_m < 400:
        return [], 0.0
    start, phase = rng.uniform(-0.3, 0.3), rng.uniform(0, 2 * np.pi)
    x = np.linspace(-half, half, 60)
    y = half * (start + 0.16 * np.sin(x / half * 2.6 + phase))
    river = np.column_stack([x, y])
    far = [river[0] + (-3000.0, 200.0), *river, river[-1] + (3000.0, -200.0)]
    return [LineString(far)], 62.0 if config.layout == "rivers" else 26.0


def _extras(rng: np.random.Generator, config: MiniCityConfig, half: float) -> list[Line]:
    """The avenue that crosses the city aslant, and a street that swings through a quarter of a circle."""
    slant = np.radians(rng.choice([-1.0, 1.0]) * rng.uniform(33, 57))
    reach = 1.6 * half * np.array([np.cos(slant), np.sin(slant)])
    off = rng.uniform(-0.18, 0.18, 2) * half
    box = Polygon(_square(half))
    diagonal = Line(LineString([off - reach, off + reach]).intersection(box), 0, "diagonal", 0)
    if config.layout == "lanes":
        return [diagonal]
    corner = rng.choice([-1.0, 1.0], 2) * half
    angles = np.linspace(0, 2 * np.pi, 120)
    circle = corner + half * rng.uniform(0.62, 0.85) * np.column_stack([np.cos(angles), np.sin(angles)])
    arc = shapely.line_merge(LineString(circle).intersection(box))
    return [diagonal, Line(arc, 1, "curve", 0)]


def _with_river(
    lines: Sequence[Line], rivers: Sequence[Any], width: float, limit: Any, bridges: int
) -> list[Line]:
    """Add a street along either bank, and let only the best lines cross the water."""
    if not rivers:
        return list(lines)
    reach = width / 2 + 15.0
    quays = []
    for river in rivers:
        for order, side in enumerate((reach, -reach)):
            bank = river.offset_curve(side, join_style="mitre").intersection(limit.buffer(OVERLAP_M))
            quays.append(Line(_longest(shapely.line_merge(bank)), 1, "river", order))
    corridor = shapely.union_all([river.buffer(reach - OVERLAP_M, cap_style="flat") for river in rivers])
    crossing: list[Any] = []
    result = list(quays)
    for line in sorted(lines, key=lambda item: item.rank):
        wet = line.path.intersection(corridor)
        dry = line.path.difference(corridor)
        spots = [
            Point(spot) for river in rivers for spot in shapely.get_coordinates(line.path.intersection(river))
        ]
        short = len(spots) == 1 and wet.length < 1.35 * 2 * reach and wet.geom_type == "LineString"
        if short and len(crossing) < bridges and all(spots[0].distance(other) > 120 for other in crossing):
            crossing.append(spots[0])
            result.append(line)
        else:
            result.append(replace(line, path=dry))
    return result


def _longest(path: Any) -> Any:
    return max(shapely.get_parts(path), key=lambda part: part.length)


def _uncluttered(lines: Iterable[Line], apart_m: float = 26.0, shortest_m: float = 75.0) -> list[Line]:
    """Cut away where a line runs close along one before it; drop pieces and lines that are too short."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda item: (item.family not in ("river", "diagonal"), item.rank)):
        path = line.path
        for other in kept:
            near = other.path.buffer(apart_m)
            along = [part for part in _line_parts(path.intersection(near)) if part.length > 3.2 * apart_m]
            if along:
                path = path.difference(shapely.union_all([part.buffer(0.01) for part in along]))
        parts = [part for part in _line_parts(path) if part.length >= shortest_m]
        if sum(part.length for part in parts) >= 1.6 * shortest_m:
            kept.append(replace(line, path=shapely.line_merge(shapely.union_all(parts))))
    return kept


def _line_parts(path: Any) -> list[Any]:
    merged = shapely.line_merge(path) if path.geom_type != "LineString" else path
    return [part for part in shapely.get_parts(merged) if part.geom_type == "LineString"]
