"""Which photos were taken at one place, where the user does not say."""

import math
from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import pyproj

from addressvlm.cities.photos import Offer
from addressvlm.geo.places import Floats

_PLACE_DECIMALS = 5  # degrees: within about a metre
Cell = tuple[int, ...]


def locations_of(offers: Sequence[Offer], place_m: float) -> list[str]:
    """The location of every offer, as an id: `l000001` is the first one that appears.

    Photos with one `location` are one. Others belong to the nearest of the photos that founded a location,
    if it is within `place_m`; else a photo founds one itself. So a location is never wider than twice
    `place_m`, a row of photos along a street never melts into one, and founders are more than `place_m`
    apart. With `place_m` 0, coordinates equal to five decimals are one location.
    """
    untold = [place for place, offer in enumerate(offers) if not offer.location]
    lat = np.array([offers[place].lat for place in untold], np.float64)
    lon = np.array([offers[place].lon for place in untold], np.float64)
    keys: list[object] = [offer.location for offer in offers]
    for place, key in zip(untold, _places(lat, lon, place_m), strict=True):
        keys[place] = key
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys), start=1)}
    return [f"l{numbers[key]:06d}" for key in keys]


def _places(lat: Floats, lon: Floats, place_m: float) -> list[tuple[float, ...]]:
    """A key for each of n points, equal for those of one location."""
    rounded = np.round(np.stack([lat, lon], axis=1), _PLACE_DECIMALS)
    usable = np.isfinite(lat) & np.isfinite(lon) & (abs(lat) <= 90) & (abs(lon) <= 180)
    keys = [tuple(point) for point in rounded.tolist()]
    if place_m <= 0:
        return keys
    points = _in_space(lat[usable], lon[usable])
    for row, founder in zip(np.flatnonzero(usable), founders(points.tolist(), place_m), strict=True):
        keys[row] = (float(founder),)
    return keys


def founders(points: Iterable[Sequence[float]], reach_m: float) -> list[int]:
    """For each point (x, y, z in metres), in order, the number of the point that it joins, or its own.

    It joins the nearest founder within `reach_m`, of equally near ones the first.
    """
    cells: dict[Cell, list[tuple[int, Sequence[float]]]] = {}
    joined: list[int] = []
    side_m = 2 * reach_m  # what is in reach lies in two cells on each axis
    for number, point in enumerate(points):
        low, high = ([math.floor((value + far) / side_m) for value in point] for far in (-reach_m, reach_m))
        around = product(*({a, b} for a, b in zip(low, high, strict=True)))
        near = (
            (math.dist(point, other), founder) for cell in around for founder, other in cells.get(cell, ())
        )
        distance_m, founder = min(near, default=(math.inf, number))
        if distance_m > reach_m:
            founder = number
            x, y, z = (math.floor(value / side_m) for value in point)
            cells.setdefault((x, y, z), []).append((number, point))
        joined.append(founder)
    return joined


def _in_space(lat: Floats, lon: Floats) -> Floats:
    """Metres from the middle of the earth, (n, 3): true distances wherever on earth the photos lie."""
    to_space = pyproj.Transformer.from_crs(4979, 4978, always_xy=True)
    return np.stack(to_space.transform(lon, lat, np.zeros_like(lat)), axis=1)
