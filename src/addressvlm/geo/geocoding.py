"""From a point to its address: the nearest named street and the district around it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from addressvlm.geo.containing import DistrictIndex
from addressvlm.geo.nearest import Ints, StreetIndex
from addressvlm.geo.places import Floats
from addressvlm.geo.streets import StreetMap

# Why a point has no address, by number; the first has one.
REASONS = (
    "",
    "no coordinates",
    "coordinates are out of range",
    "coordinates are 0, 0",
    "outside the city",
    "no named street within {radius_m:g} m",
    "no district within {tolerance_m:g} m",
)
_OK, _NOTHING, _OUT_OF_RANGE, _NULL_ISLAND, _OUTSIDE, _NO_STREET, _NO_DISTRICT = range(len(REASONS))

_CHUNK = 1_000_000


@dataclass(frozen=True)
class Codes:
    """Addresses of n points as row numbers of a street map: -1 and NaN where there is none.

    `district`, `street` and `runner_up` are rows, `street_m` and `margin_m` metres, `reason` is a place in
    `REASONS`; all (n,).
    """

    district: Ints
    street: Ints
    runner_up: Ints
    street_m: Floats
    margin_m: Floats
    reason: npt.NDArray[np.int8]


class Geocoder:
    """Reverse geocoding of many points against one street map, in constant memory beside theirs.

    `radius_m` is how far a street may be, `district_tolerance_m` how far a point may lie outside of all
    districts; `points` is about how many there will be, from which follows what preparation pays.
    """

    def __init__(
        self,
        street_map: StreetMap,
        *,
        radius_m: float = 30.0,
        district_tolerance_m: float = 50.0,
        points: int = 1_000_000,
    ):
        self._map = street_map
        self._reach_m = max(radius_m, district_tolerance_m)
        plane = street_map.projection.crs
        self._streets = StreetIndex(street_map.streets.geometry.to_crs(plane).to_numpy(), radius_m)
        self._districts = DistrictIndex(
            street_map.districts.geometry.to_crs(plane).to_numpy(), district_tolerance_m, points=points
        )

    def codes(self, lat: Floats, lon: Floats) -> Codes:
        """The addresses of points (degrees), in their order; those of a million are found at a time."""
        street, runner_up, district = np.full((3, len(lat)), -1, np.int64)
        street_m, runner_up_m = np.full((2, len(lat)), np.nan)
        reason = self._unplaceable(lat, lon)
        placed = np.flatnonzero(reason == _OK)
        for begin in range(0, len(placed), _CHUNK):
            some = placed[begin : begin + _CHUNK]
            x, y = self._map.projection.to_xy(lat[some], lon[some])
            street[some], street_m[some], runner_up[some], runner_up_m[some] = self._streets.nearest_two(x, y)
            district[some] = self._districts.find(x, y)
        no_street, no_district = street[placed] < 0, district[placed] < 0
        reason[placed[no_district]] = _NO_DISTRICT
        reason[placed[no_street]] = _NO_STREET
        reason[placed[no_street & no_district]] = _OUTSIDE
        return Codes(district, street, runner_up, street_m, runner_up_m - street_m, reason)

    def _unplaceable(self, lat: Floats, lon: Floats) -> npt.NDArray[np.int8]:
        """Why a point needs no search, or `_OK`."""
        box = self._map.bounds
        # Twice the metres of a degree, so that the box is never too small; what it lets through is searched.
        pad_lat = 2 * self._reach_m / 111_000
        pad_lon = pad_lat / max(0.01, np.cos(np.radians(max(abs(box.south), abs(box.north)))))
        with np.errstate(invalid="ignore"):
            inside = (lat >= box.south - pad_lat) & (lat <= box.north + pad_lat)
            inside &= (lon >= box.west - pad_lon) & (lon <= box.east + pad_lon)
            reasons = np.where(inside, _OK, _OUTSIDE).astype(np.int8)
            reasons[(lat == 0) & (lon == 0)] = _NULL_ISLAND
            reasons[(abs(lat) > 90) | (abs(lon) > 180)] = _OUT_OF_RANGE
        reasons[~(np.isfinite(lat) & np.isfinite(lon))] = _NOTHING
        return reasons


def reverse_geocode(
    street_map: StreetMap,
    lat: npt.ArrayLike,
    lon: npt.ArrayLike,
    *,
    radius_m: float = 30.0,
    district_tolerance_m: float = 50.0,
) -> pd.DataFrame:
    """The address of each of n points (degrees), one row a point, in their order.

    Columns: `district`; `street`, the nearest within `radius_m`, and `street_m`, how far it is; `runner_up`,
    the nearest street of another name within `radius_m`, and `margin_m`, how much farther that is: a small
    margin is a corner; `reason`, "" or why there is no address. A point lies in the smallest district that
    contains it, else in the nearest within `district_tolerance_m`. Equal distances are decided by name.
    What is not known is missing.
    """
    lats, lons = np.atleast_1d(np.asarray(lat, np.float64)), np.atleast_1d(np.asarray(lon, np.float64))
    geocoder = Geocoder(
        street_map, radius_m=radius_m, district_tolerance_m=district_tolerance_m, points=len(lats)
    )
    found = geocoder.codes(lats, lons)
    words = [reason.format(radius_m=radius_m, tolerance_m=district_tolerance_m) for reason in REASONS]
    # Rows are sorted by name, so that their numbers, too, decide equal distances by name.
    return pd.DataFrame(
        {
            "district": _named(street_map.districts, found.district),
            "street": _named(street_map.streets, found.street),
            "street_m": found.street_m,
            "runner_up": _named(street_map.streets, found.runner_up),
            "margin_m": found.margin_m,
            "reason": np.array(words, object)[found.reason],
        }
    )


def _named(frame: Any, rows: Ints) -> npt.NDArray[np.object_]:
    names = np.array([*frame["name"], None], object)  # the last for row -1
    return names[rows]
