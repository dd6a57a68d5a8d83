"""What stands in streets and parks: trees, lamps, parked cars, street-name signs, railings."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from addressvlm.cities.minicity.buildings import BASE_M, add_board, linear
from addressvlm.cities.minicity.config import MiniCityConfig
from addressvlm.cities.minicity.ground import Crossing, direction, pole
from addressvlm.cities.minicity.look import Looks, StreetLook, draw
from addressvlm.cities.minicity.lots import Lot
from addressvlm.cities.minicity.mesh import PLAIN, MeshBuilder
from addressvlm.cities.minicity.plan import Plan, Street, road_area
from addressvlm.cities.minicity.signs import Sign, board_aspect, street_lines
from addressvlm.cities.minicity.templates import CAR_COLOURS, SPECIES, add_car, add_tree

Floats = npt.NDArray[np.float64]

_PLATE_M = 1.25  # height of a street-name plate of two lines: large, so that small pictures can show it
_HEIGHTS = {
    "round": 7.0,
    "plane": 9.5,
    "poplar": 11.0,
    "conifer": 9.0,
    "palm": 9.0,
    "cherry": 5.5,
    "ginkgo": 8.0,
}
_CARS = {
    "white": 4.0,
    "silver": 4.0,
    "dark grey": 3.0,
    "black": 3.0,
    "blue": 2.5,
    "red": 2.5,
    "green": 1.0,
    "gold": 0.6,
    "light blue": 1.0,
}


class Furnisher:
    """Sets down the furniture of a city in a mesh."""

    def __init__(
        self, builder: MeshBuilder, config: MiniCityConfig, plan: Plan, looks: Looks, lots: Sequence[Lot]
    ):
        self._builder, self._config, self._plan, self._looks = builder, config, plan, looks
        self._trunks = {
            species: builder.thing("trunk", index, [*SPECIES[species][2]])
            for index, species in enumerate(SPECIES)
        }
        self._land = shapely.union_all([block.area for block in plan.blocks])
        self._houses = shapely.STRtree([shapely.Polygon(lot.corners) for lot in lots])
        shapely.prepare(self._land)

    def furnish(self, crossings: Sequence[Crossing]) -> list[Sign]:
        """Add everything; returns the street-name signs in the order of their atlas numbers from 0."""
        for index, street in enumerate(self._plan.streets):
            look = self._looks.streets[index]
            rng = self._config.rng(50, index)
            near = [other for other in self._plan.streets if other is not street and _close(other, street)]
            self._avenue_trees(street, look, near, rng)
            self._lamps(index, street, look, near, rng)
            self._cars(street, look, near, rng)
        self._green(self._config.rng(51))
        self._railings()
        return self._name_signs(crossings)

    def _along(
        self, street: Street, spacing: float, offset: float, near: Sequence[Street], clear: float
    ) -> Any:
        """Points beside a street (k, 2) and its direction there, away from junctions by `clear` metres."""
        for part in shapely.get_parts(street.path):
            count = int(part.length / spacing)
            places = (np.arange(count) + 0.5) * part.length / max(count, 1)
            points = shapely.get_coordinates(shapely.line_interpolate_point(part, places))
            for point in points:
                way = direction(part, point)
                spot = point + np.array([-way[1], way[0]]) * offset
                if all(
                    other.path.distance(shapely.Point(point)) > other.width_m / 2 + clear for other in near
                ):
                    yield spot, way

    def _on_land(self, spot: Floats) -> bool:
        return bool(shapely.contains_xy(self._land, *spot))

    def _free(self, spot: Floats, radius: float) -> bool:
        return not len(self._houses.query(shapely.Point(spot), "dwithin", distance=radius))

    def _tree(
        self, species: str, spot: Floats, scale: float, rng: np.random.Generator, *, far: bool = False
    ) -> None:
        height = _HEIGHTS[species] * scale * rng.uniform(0.8, 1.2)
        place = np.array([*spot, 0.0 if far else BASE_M])
        add_tree(self._builder, species, place, height, rng, self._trunks, far=far)

    def _avenue_trees(
        self, street: Street, look: StreetLook, near: Sequence[Street], rng: np.random.Generator
    ) -> None:
        if not look.tree_spacing_m:
            return
        for side in (1.0, -1.0):
            offset = side * (street.width_m / 2 + 0.8)
            for spot, _ in self._along(street, look.tree_spacing_m, offset, near, 5.0):
                missing = rng.random() < 0.12
                if self._on_land(spot) and not missing and self._free(spot, 0.9):
                    self._tree(look.tree, spot, 0.9, rng)

    def _lamps(
        self, index: int, street: Street, look: StreetLook, near: Sequence[Street], rng: np.random.Generator
    ) -> None:
        if look.lamp == "none":
            return
        thing = self._builder.thing("lamp", index, [*linear(look.lamp_colour)])
        bulb = self._builder.thing("lamp", index, [0.85, 0.83, 0.75])
        spacing = float(rng.choice([26.0, 32.0, 38.0]))
        for side in (1.0, -1.0):
            offset = side * (street.width_m / 2 + 0.45)
            for spot, way in self._along(street, spacing, offset, near, 3.0):
                if self._on_land(spot):
                    inward = np.array([way[1], -way[0]]) * side
                    _lamp(self._builder, look.lamp, spot, inward, thing, bulb)

    def _cars(
        self, street: Street, look: StreetLook, near: Sequence[Street], rng: np.random.Generator
    ) -> None:
        for side in (1.0,) if street.rank == 2 else (1.0, -1.0):
            offset = side * (street.width_m / 2 - 1.15)
            for spot, way in self._along(street, 6.2, offset, near, 9.0):
                if rng.random() < look.car_density:
                    colour = draw(rng, _CARS)
                    paint = np.array(linear(colour)) * rng.uniform(0.8, 1.0)
                    spot = spot + way * rng.uniform(-0.4, 0.4)
                    build = int(rng.choice(3, p=[0.45, 0.35, 0.2]))
                    ahead = -way * side
                    place = np.array([*spot, 0.0])
                    add_car(self._builder, place, ahead, CAR_COLOURS.index(colour), paint, build)

    def _green(self, rng: np.random.Generator) -> None:
        """Trees of parks and yards, bushes by the water, and some trees on the fields around."""
        looks = {"brick": ("round", "plane", "conifer"), "pastel": ("round", "palm", "plane")}
        kinds = looks.get(self._config.look, ("cherry", "round", "ginkgo"))
        roads = shapely.union_all([road_area(street, 1.5) for street in self._plan.streets])
        shapely.prepare(roads)
        for block in self._plan.blocks:
            spacing = {"park": 11.0, "quay": 15.0, "built": 17.0}[block.kind]
            favourite = str(rng.choice(kinds))
            for spot in _scattered(rng, block.area.buffer(-2.5), spacing):
                species = favourite if rng.random() < 0.6 else str(rng.choice(kinds))
                scale = rng.uniform(0.55, 0.8) if block.kind == "built" else rng.uniform(0.8, 1.15)
                if self._free(spot, 2.6):
                    self._tree(species, spot, scale, rng)
        west, south, east, north = self._plan.limit.buffer(260).bounds
        around = shapely.box(west, south, east, north).difference(self._plan.limit.buffer(8))
        for spot in _scattered(rng, around.difference(self._plan.water.buffer(6)), 48.0):
            species = str(rng.choice(["round", "poplar", "conifer"]))
            self._tree(species, spot, rng.uniform(0.8, 1.3), rng, far=True)

    def _railings(self) -> None:
        """Along the water inside the city, but not across the bridges."""
        if self._plan.water.is_empty:
            return
        roads = shapely.union_all([road_area(street, 2.4) for street in self._plan.streets])
        rim = self._plan.water.boundary.intersection(self._plan.limit).difference(roads)
        thing = self._builder.thing("railing", 0, [0.04, 0.05, 0.05])
        for part in shapely.get_parts(rim):
            points = shapely.get_coordinates(shapely.segmentize(part, 4.0))
            for a, b in zip(points[:-1], points[1:], strict=True):
                for low, high in ((0.5, 0.56), (1.05, 1.13)):
                    quad = [(*a, low), (*b, low), (*b, high), (*a, high)]
                    self._builder.quad(quad, PLAIN, thing)
                pole(self._builder, a, 0.0, 1.1, 0.05, thing)

    def _name_signs(self, crossings: Sequence[Crossing]) -> list[Sign]:
        """At two corners of a crossing a pole with a plate for each street, lettered on both sides."""
        style = {"american": ("green", (0.80, 0.80, 0.78)), "numbered": ("white", (0.01, 0.01, 0.012))}
        colour, ink = style.get(self._config.naming, ("blue", (0.85, 0.85, 0.85)))
        board = np.array(linear(colour))
        post = self._builder.thing("sign post", 0, [0.25, 0.26, 0.27])
        signs: list[Sign] = []
        for crossing in crossings:
            for spot in self._corners(crossing):
                pole(self._builder, spot, BASE_M, 2.7 + 2 * _PLATE_M, 0.05, post)
                for level, (index, way) in enumerate(zip(crossing.streets, crossing.ways, strict=True)):
                    name = self._plan.streets[index].name
                    lines = street_lines(name)
                    for right in (way, -way):
                        wide = right * board_aspect(lines) * _PLATE_M
                        outward = np.array([right[1], -right[0]])
                        corner = np.array(
                            [*(spot - wide / 2 + outward * 0.09), 2.6 + level * (_PLATE_M + 0.06)]
                        )
                        sign = add_board(
                            self._builder, corner, wide, _PLATE_M, name, lines, "street", index, board, ink
                        )
                        signs.append(sign)
        return signs

    def _corners(self, crossing: Crossing) -> Iterator[Floats]:
        """Up to two corners of a crossing that lie on land, opposite each other."""
        normals = np.array([[-way[1], way[0]] for way in crossing.ways])
        reach = np.array([self._plan.streets[index].width_m / 2 + 0.9 for index in crossing.streets])
        for first in ((1, 1), (1, -1)):
            found = []
            for sign in (1, -1):
                spot = crossing.point + np.linalg.solve(normals, reach * np.array(first) * sign)
                if np.hypot(*(spot - crossing.point)) < 25 and self._on_land(spot):
                    found.append(np.round(spot, 3))
            if found:
                yield from found
                return


def _close(one: Street, two: Street) -> bool:
    return bool(one.path.distance(two.path) < 20.0)


def _scattered(rng: np.random.Generator, area: Any, spacing: float) -> Iterator[Floats]:
    """Points of a shaken grid inside an area."""
    if area.is_empty:
        return
    west, south, east, north = area.bounds
    x, y = np.meshgrid(np.arange(west, east, spacing), np.arange(south, north, spacing))
    points = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(0, 0.9 * spacing, (x.size, 2))
    shapely.prepare(area)
    yield from points[shapely.contains_xy(area, points)]


def _lamp(builder: MeshBuilder, kind: str, spot: Floats, inward: Floats, thing: int, bulb: int) -> None:
    high = {"arm": 7.2, "twin": 8.0, "globe": 3.9, "lantern": 4.4}[kind]
    pole(builder, spot, BASE_M, high, 0.08 if kind in ("arm", "twin") else 0.06, thing)
    if kind in ("arm", "twin"):
        for sign in (1.0,) if kind == "arm" else (1.0, -1.0):
            end = spot + inward * sign * 1.8
            _beam(builder, spot, end, high - 0.1, 0.1, 0.06, thing)
            _beam(
                builder, end - inward * sign * 0.3, end + inward * sign * 0.5, high - 0.16, 0.14, 0.14, bulb
            )
    elif kind == "globe":
        _globe(builder, spot, high + 0.25, 0.34, bulb)
    else:
        pole(builder, spot, high, high + 0.5, 0.17, bulb)
        pole(builder, spot, high + 0.5, high + 0.62, 0.23, thing)


def _beam(
    builder: MeshBuilder, a: Floats, b: Floats, low: float, tall: float, half: float, thing: int
) -> None:
    way = (b - a) / np.hypot(*(b - a))
    side = np.array([-way[1], way[0]]) * half
    builder.prism([a - side, b - side, b + side, a + side], low, low + tall, PLAIN, thing)


def _globe(builder: MeshBuilder, spot: Floats, z: float, radius: float, thing: int) -> None:
    angles = np.arange(8) * np.pi / 4
    rows = []
    for share in (-1.0, -0.5, 0.5, 1.0):
        wide = radius * np.sqrt(1 - share * share * 0.98)
        ring = np.column_stack([spot[0] + wide * np.cos(angles), spot[1] + wide * np.sin(angles)])
        rows.append(np.column_stack([ring, np.full(8, z + radius * share)]))
    for low, high in zip(rows, rows[1:], strict=False):
        for i in range(8):
            j = (i + 1) % 8
            builder.quad([low[i], low[j], high[j], high[i]], PLAIN, thing)
