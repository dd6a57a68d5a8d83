"""What a finished build tells about inputs that could be used, but are hardly what their owner meant."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import geopandas as gpd
import pandas as pd

from addressvlm.cities.source import Around
from addressvlm.geo.coverage import overlapping
from addressvlm.geo.streets import StreetMap

_SHOWN = 3
_OUTSIDE = 1.0  # percent of the streets' length: less is the border of a map


def remarks(
    city_map: StreetMap, streets: gpd.GeoDataFrame, counts: Mapping[str, Any], around: Mapping[str, Around]
) -> Iterator[str]:
    """Sentences for the user of a build with these `counts` (those of the summary)."""
    covered = counts["district_coverage"]
    if pairs := overlapping(city_map):
        told = _some([f"{one} and {other}" for one, other in pairs])
        yield f"districts overlap: {told}; who stands in both is in the smaller one; correct the file if not"
    if covered["holes"] or covered["streets_outside"] > _OUTSIDE:
        yield (
            f"{covered['streets_outside']:g} % of the streets' length lies in no district; holes between "
            f"districts: {covered['holes']} ({covered['holes_km2']:g} km²); complete the districts, or raise "
            "`district_tolerance_m` for photos near their borders"
        )
    unnamed = streets.attrs.get("dropped", {}).get("without a name", 0)
    if unnamed > len(streets):
        yield (
            f"{unnamed} of {unnamed + len(streets)} pieces of streets have no name and are left out; if "
            "another field has names, say so with `streets_name_field`"
        )
    if counts["tiles_missing"] or counts["tiles_damaged"]:
        missing = sorted({tile for one in around.values() for tile in one.missing})
        told = f" ({_some(['/'.join(map(str, tile)) for tile in missing])})" if missing else ""
        yield (
            f"maps are grey in places: tiles missing: {counts['tiles_missing']}{told}, damaged: "
            f"{counts['tiles_damaged']}, maps with holes: {counts['maps_with_holes']}; complete the imagery "
            "and build into another folder"
        )


def where_things_lie(city_map: StreetMap, photos: pd.DataFrame) -> str:
    """A hint if the photos' places lie beside the streets or the districts, else nothing."""
    places = photos[["lat", "lon"]].dropna()
    if places.empty:
        return ""
    south, west, north, east = *places.min(), *places.max()
    for name, frame in (("streets", city_map.streets), ("districts", city_map.districts)):
        left, bottom, right, top = frame.total_bounds
        if left > east or right < west or bottom > north or top < south:
            return (
                f"; the photos lie around ({places['lat'].median():.4f}, {places['lon'].median():.4f}), the "
                f"{name} around ({(bottom + top) / 2:.4f}, {(left + right) / 2:.4f}) (latitude, longitude): "
                "bring files of one place, and check that no latitude and longitude are swapped"
            )
    return ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
