"""How well districts cover a city: overlaps, holes, and streets that lie in none."""

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from addressvlm.geo.streets import StreetMap

# Smaller overlaps and holes are borders that were digitised twice.
_SLIVER_M2 = 1000.0
_WITHIN = 0.99  # share of the smaller district inside of the larger: one is part of the other


def coverage(city: StreetMap) -> dict[str, float | int]:
    """Counts of what a person who drew the districts would want to know.

    `nested` pairs of districts (a quarter in its borough) and `overlapping` ones, in both of which the
    smaller one wins; `holes` between districts and their `holes_km2`; `streets_outside`, the percent of the
    length of all streets that is in no district. Slivers below 1,000 m² do not count.
    """
    plane = city.projection.crs
    areas: npt.NDArray[Any] = shapely.make_valid(city.districts.geometry.to_crs(plane).to_numpy())
    lines: npt.NDArray[Any] = city.streets.geometry.to_crs(plane).to_numpy()
    _, _, nested = _overlaps(areas)
    whole = shapely.union_all(areas)
    holes = _holes(whole)
    outside_m = _outside_m(lines, areas)
    return {
        "nested": int(nested.sum()),
        "overlapping": int((~nested).sum()),
        "holes": len(holes),
        "holes_km2": round(float(holes.sum()) / 1e6, 3),
        "streets_outside": round(100 * outside_m / max(float(shapely.length(lines).sum()), 1e-9), 2),
    }


def overlapping(city: StreetMap) -> list[tuple[str, str]]:
    """The names of the pairs of districts that overlap without one being part of the other."""
    areas = shapely.make_valid(city.districts.geometry.to_crs(city.projection.crs).to_numpy())
    one, other, nested = _overlaps(areas)
    names = city.districts["name"].to_numpy()
    return list(zip(names[one[~nested]], names[other[~nested]], strict=True))


def _overlaps(areas: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The pairs that share ground, by their places, and whether one lies in the other."""
    one, other = shapely.STRtree(areas).query(areas, predicate="intersects")
    one, other = one[one < other], other[one < other]
    shared = shapely.area(shapely.intersection(areas[one], areas[other]))
    smaller = np.minimum(shapely.area(areas[one]), shapely.area(areas[other]))
    much = shared > _SLIVER_M2
    return one[much], other[much], (shared >= _WITHIN * smaller)[much]


def _holes(whole: Any) -> npt.NDArray[np.float64]:
    """The areas of the holes in m²."""
    inner = [ring for part in shapely.get_parts(whole) for ring in getattr(part, "interiors", ())]
    sizes: npt.NDArray[np.float64] = shapely.area(shapely.polygons(inner)) if inner else np.zeros(0)
    return sizes[sizes > _SLIVER_M2]


def _outside_m(lines: npt.NDArray[Any], areas: npt.NDArray[Any]) -> float:
    """Metres of street in no district; of a street that some district touches, a tree finds the districts."""
    street, district = shapely.STRtree(areas).query(lines, predicate="intersects")
    total = 0.0
    for number, line in enumerate(lines):
        around = areas[district[street == number]]
        left = shapely.difference(line, shapely.union_all(around)) if len(around) else line
        total += float(shapely.length(left))
    return total
