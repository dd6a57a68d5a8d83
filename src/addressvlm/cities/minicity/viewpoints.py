"""Where the street-view car stops."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from addressvlm.cities.minicity.config import MiniCityConfig
from addressvlm.cities.minicity.ground import direction, find_crossings
from addressvlm.cities.minicity.plan import Plan, Street

_CLEAR_M = 7.0  # a location is nearer to its own street than to any other by at least this
_AT_CORNERS = 0.25  # share of locations that are moved up to a corner
_OVERSAMPLED = 1.35


@dataclass(frozen=True)
class Viewpoint:
    """A place on a street (index into the plan) in metres, and the heading of its first view."""

    x: float
    y: float
    street: int
    heading_deg: float


def place_locations(config: MiniCityConfig, plan: Plan) -> list[Viewpoint]:
    """Locations along all streets, evenly but shaken, off the middle of the road, clear of other streets.

    Every street has at least one; near a corner the own street is still the nearest. There may be a few less
    than `config.locations` where a city is too small to hold them.
    """
    rng = config.rng(70)
    spacing = sum(street.path.length for street in plan.streets) / (config.locations * _OVERSAMPLED)
    corners: list[list[Any]] = [[] for _ in plan.streets]
    for crossing in find_crossings(plan.streets):
        for one in crossing.streets:
            corners[one].append(crossing.point)
    paths = np.array([street.path for street in plan.streets], dtype=object)
    kept: list[list[Viewpoint]] = []
    for index, street in enumerate(plan.streets):
        others = np.delete(paths, index)
        # A short street may need a closer look until a place is found.
        for step, clear in ((spacing, _CLEAR_M), (4.0, _CLEAR_M), (2.0, 1.0)):
            stops = _stops(rng, street.path, step, corners[index])
            found = [_viewpoint(rng, config, street, index, *stop) for stop in stops]
            found = [place for place in found if _is_clear(place, street, others, clear)]
            if found:
                break
        kept.append(found if step == spacing else found[:1])
    return _thinned(rng, kept, config.locations)


def _viewpoint(
    rng: np.random.Generator, config: MiniCityConfig, street: Street, index: int, point: Any, way: Any
) -> Viewpoint:
    # A lane has parked cars on its left only.
    side = -1.0 if street.rank == 2 else rng.choice([-1.0, 1.0])
    spot = np.round(point + np.array([-way[1], way[0]]) * side * min(0.17 * street.width_m, 2.0), 3)
    return Viewpoint(float(spot[0]), float(spot[1]), index, float(rng.uniform(0, 360 / config.views)))


def _is_clear(place: Viewpoint, street: Street, others: Any, clear_m: float) -> bool:
    """Whether a place is nearer to its own street than to all others, by `clear_m`."""
    spot = shapely.Point(place.x, place.y)
    gaps = shapely.distance(others, spot)
    return bool(gaps.min(initial=np.inf) > street.path.distance(spot) + clear_m)


def _stops(rng: np.random.Generator, path: Any, spacing: float, corners: list[Any]) -> Any:
    """Points on a path and its direction there: spread out, a few moved up to a nearby corner."""
    for part in shapely.get_parts(path):
        count = max(1, round(part.length / spacing))
        for number in range(count):
            place = (number + rng.uniform(0.1, 0.9)) / count * part.length
            if corners and rng.random() < _AT_CORNERS:
                places = [part.project(shapely.Point(corner)) for corner in corners]
                place = min(places, key=lambda other: abs(other - place)) + rng.choice([-1, 1]) * rng.uniform(
                    9, 13
                )
            point = np.array(part.interpolate(min(max(place, 6.0), part.length - 6.0)).coords[0])
            yield point, direction(part, point)


def _thinned(rng: np.random.Generator, found: list[list[Viewpoint]], wanted: int) -> list[Viewpoint]:
    """Drop random places until `wanted` are left, but never a street's last."""
    surplus = sum(map(len, found)) - wanted
    order = rng.permutation([index for index, places in enumerate(found) for _ in places])
    for index in order:
        if surplus > 0 and len(found[index]) > 1:
            found[index].pop(int(rng.integers(len(found[index]))))
            surplus -= 1
    return [place for places in found for place in places]
