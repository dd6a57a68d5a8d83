"""From a point to its address: the nearest named street and the district around it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from addressvlm.geo.places import Floats
from addressvlm.geo.streets import StreetMap

Ints = npt.NDArray[np.int64]

_CHUNK = 100_000
_CENTIMETRE = 2  # decimals: nearer than this is equally near, and the name decides


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
    reason = _unplaceable(street_map, lats, lons, max(radius_m, district_tolerance_m))
    placed = np.flatnonzero(reason == "")
    street, street_m, runner_up, runner_up_m = _empty(len(lats))
    district, _, _, _ = _empty(len(lats))
    for some in np.split(placed, range(_CHUNK, len(placed), _CHUNK)):
        points = shapely.points(*street_map.projection.to_xy(lats[some], lons[some]))
        street[some], street_m[some], runner_up[some], runner_up_m[some] = _nearest_two(
            street_map, points, radius_m
        )
        district[some] = _districts(street_map, points, district_tolerance_m)
    reason[placed] = _missing(street[placed], district[placed], radius_m, district_tolerance_m)
    return pd.DataFrame(
        {
            "district": _named(street_map.districts, district),
            "street": _named(street_map.streets, street),
            "street_m": street_m,
            "runner_up": _named(street_map.streets, runner_up),
            "margin_m": runner_up_m - street_m,
            "reason": reason.astype(object),
        }
    )


def _unplaceable(street_map: StreetMap, lat: Floats, lon: Floats, reach_m: float) -> npt.NDArray[np.object_]:
    """Why a point needs no search, or ""."""
    box = street_map.bounds
    # Twice the metres of a degree, so that the box is never too small; what it lets through is searched for.
    pad_lat = 2 * reach_m / 111_000
    pad_lon = pad_lat / max(0.01, np.cos(np.radians(max(abs(box.south), abs(box.north)))))
    with np.errstate(invalid="ignore"):
        inside = (lat >= box.south - pad_lat) & (lat <= box.north + pad_lat)
        inside &= (lon >= box.west - pad_lon) & (lon <= box.east + pad_lon)
        reasons = np.where(inside, "", "outside the city").astype(object)
        reasons[(lat == 0) & (lon == 0)] = "coordinates are 0, 0"
        reasons[(abs(lat) > 90) | (abs(lon) > 180)] = "coordinates are out of range"
    reasons[~(np.isfinite(lat) & np.isfinite(lon))] = "no coordinates"
    return reasons


def _missing(street: Ints, district: Ints, radius_m: float, tolerance_m: float) -> npt.NDArray[np.object_]:
    reasons = np.full(len(street), "", object)
    reasons[district < 0] = f"no district within {tolerance_m:g} m"
    reasons[street < 0] = f"no named street within {radius_m:g} m"
    reasons[(street < 0) & (district < 0)] = "outside the city"
    return reasons


def _nearest_two(street_map: StreetMap, points: Any, radius_m: float) -> tuple[Ints, Floats, Ints, Floats]:
    """Row and distance of the nearest street of each point and of the next other one; -1 and NaN for none."""
    lines = street_map.streets.geometry.to_crs(street_map.projection.crs).to_numpy()
    parts, street = shapely.get_parts(lines, return_index=True)
    part, point = shapely.STRtree(points).query(parts, predicate="dwithin", distance=radius_m)
    pairs = pd.DataFrame(
        {"point": point, "street": street[part], "m": shapely.distance(parts[part], points[point])}
    )
    pairs["m"] = pairs["m"].round(_CENTIMETRE)
    # Street rows are sorted by name, so the row number breaks ties by name.
    pairs = pairs.groupby(["point", "street"])["m"].min().reset_index().sort_values(["point", "m", "street"])
    rank = pairs.groupby("point").cumcount()
    found = _empty(len(points))
    for place, (rows, metres) in enumerate((found[:2], found[2:])):
        here = pairs[rank == place]
        rows[here["point"]], metres[here["point"]] = here["street"], here["m"]
    return found


def _districts(street_map: StreetMap, points: Any, tolerance_m: float) -> Ints:
    """Row of the district of each point, -1 for none: the smallest around it, else the nearest."""
    areas = street_map.districts.geometry.to_crs(street_map.projection.crs).to_numpy()
    shapely.prepare(areas)
    tree = shapely.STRtree(points)
    district, point = tree.query(areas, predicate="intersects")
    pairs = [pd.DataFrame({"point": point, "district": district, "m": 0.0})]
    outside = np.setdiff1d(np.arange(len(points)), point)
    district, near = shapely.STRtree(points[outside]).query(areas, predicate="dwithin", distance=tolerance_m)
    metres = shapely.distance(areas[district], points[outside[near]])
    pairs.append(pd.DataFrame({"point": outside[near], "district": district, "m": metres.round(_CENTIMETRE)}))
    found = pd.concat(pairs)
    found["area"] = shapely.area(areas)[found["district"]]
    first = found.sort_values(["point", "m", "area", "district"]).drop_duplicates("point")
    rows = np.full(len(points), -1, np.int64)
    rows[first["point"]] = first["district"]
    return rows


def _empty(count: int) -> tuple[Ints, Floats, Ints, Floats]:
    rows, metres = np.full(count, -1, np.int64), np.full(count, np.nan)
    return rows, metres, rows.copy(), metres.copy()


def _named(frame: Any, rows: Ints) -> list[str | None]:
    names = frame["name"].tolist()
    return [names[row] if row >= 0 else None for row in rows]
