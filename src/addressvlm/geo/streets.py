"""The vectors of a city: one row a street, one row a district, each under one name."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from addressvlm.errors import AddressVLMError
from addressvlm.geo.naming import checked_language, language_of, name_key
from addressvlm.geo.places import Bounds, LatLon, Projection

WGS84 = "EPSG:4326"

LINES = ("LineString", "MultiLineString")
AREAS = ("Polygon", "MultiPolygon")
POINTS = ("Point",)
_OTHER_SHAPE = {LINES: "not a line", AREAS: "not an area", POINTS: "not a point"}
_NO_NAMES = {
    "",
    "<null>",
    "null",
    "none",
    "nan",
    "n/a",
    "unnamed",
    "unnamed road",
    "unnamed street",
    "unknown",
}


# A hundred kilometres: as wide as what a plane shows truly.
_CITY_DEG = 1.0


@dataclass(frozen=True)
class StreetMap:
    """The named streets and districts of a city in WGS84 degrees, as `street_map` makes it.

    `streets` has the columns `name` (unique, sorted) and `geometry` (MultiLineString);
    `districts` has `name` (unique, sorted) and `geometry` (Polygon or MultiPolygon).
    """

    streets: gpd.GeoDataFrame
    districts: gpd.GeoDataFrame

    @cached_property
    def bounds(self) -> Bounds:
        """The box around all streets and districts."""
        boxes = np.vstack([self.streets.total_bounds, self.districts.total_bounds])
        west, south = boxes[:, :2].min(axis=0)
        east, north = boxes[:, 2:].max(axis=0)
        return Bounds(float(west), float(south), float(east), float(north))

    @cached_property
    def projection(self) -> Projection:
        """The metric plane around the middle of the city.

        Where shapes reach far beyond it, as a country among the districts does, the middle of its streets.
        """
        box = self.bounds
        if max(box.east - box.west, box.north - box.south) <= _CITY_DEG:
            return Projection(box.centre)
        lon, lat = np.median(shapely.get_coordinates(self.streets.geometry), axis=0)
        return Projection(LatLon(float(lat), float(lon)))


def street_map(
    streets: gpd.GeoDataFrame, districts: gpd.GeoDataFrame, *, language: str | None = None
) -> StreetMap:
    """Join the pieces of every name and check that there are streets and districts at all.

    Both frames need the columns `name` and `geometry`. Spellings that `street_key` finds equal are one name,
    those of streets also where `name_key` does by the abbreviations of their `language` (by default the one
    that most are in); the name is written as most of its pieces write it. What has no name or another kind of
    geometry is left out.
    """
    lines = keep_usable(in_degrees(streets, "streets"), LINES)
    lines = _one_row_a_name(lines, _one_line, _street_keys(lines["name"], language))
    areas = _one_row_a_name(keep_usable(in_degrees(districts, "districts"), AREAS), _one_area, street_key)
    if lines.empty:
        raise AddressVLMError("there is no street with a name and a line")
    if areas.empty:
        raise AddressVLMError("there is no district with a name and an area")
    return StreetMap(lines, areas)


def joined_spellings(names: Iterable[str], *, language: str | None = None) -> list[tuple[str, str, int]]:
    """The spellings that `street_map` takes for another name: (name, spelling, pieces), sorted.

    `names` holds that of every piece of street.
    """
    names = list(names)
    return sorted(
        (usual, spelling, pieces)
        for spellings in _by_key(names, _street_keys(names, language)).values()
        for usual in (_usual(spellings),)
        for spelling, pieces in spellings.items()
        if spelling != usual
    )


def street_key(name: str) -> str:
    """What two spellings of one name have in common: letters without case, single spaces, no dots."""
    plain = unicodedata.normalize("NFKC", name).casefold().replace("’", "'").replace(".", "")
    return " ".join(plain.split())


def clean_name(value: Any) -> str:
    """A name as it is to be shown: composed letters, single spaces; "" for what stands for no name."""
    text = unicodedata.normalize("NFC", value if isinstance(value, str) else _number_as_text(value))
    printable = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
    name = " ".join(printable.split())
    return "" if name.casefold() in _NO_NAMES else name


def in_degrees(frame: gpd.GeoDataFrame, what: str) -> gpd.GeoDataFrame:
    """The frame in WGS84; `what` names it in the error raised where its numbers cannot be degrees."""
    if frame.crs is not None and frame.crs != WGS84:
        frame = frame.to_crs(WGS84)
    elif frame.crs is None:
        frame = frame.set_crs(WGS84)
    west, south, east, north = (float(value) for value in frame.total_bounds)
    if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
        raise AddressVLMError(
            f"{what}: coordinates up to ({east:.0f}, {north:.0f}) are not degrees of longitude and latitude; "
            "the file is in metres or feet: save it in WGS84 (EPSG:4326), or with its CRS declared"
        )
    return frame


def keep_usable(frame: gpd.GeoDataFrame, kinds: tuple[str, ...]) -> gpd.GeoDataFrame:
    """The rows with a clean name and a geometry of these kinds; `attrs["dropped"]` counts the others."""
    names = [clean_name(value) for value in frame["name"]]
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    named = np.array([name != "" for name in names], bool)
    fits = frame.geometry.geom_type.isin(kinds).to_numpy() & ~shapely.is_empty(shapes)
    fits &= np.isfinite(shapely.bounds(shapes)).all(axis=1)
    kept = gpd.GeoDataFrame({"name": names}, geometry=shapes, crs=frame.crs)[named & fits]
    kept = kept.reset_index(drop=True)
    kept.attrs["dropped"] = {
        "without a name": int((~named).sum()),
        _OTHER_SHAPE[kinds]: int((named & ~fits).sum()),
    }
    return kept


def _street_keys(names: Iterable[str], language: str | None) -> Callable[[str], str]:
    language = language_of(set(names)) if language is None else checked_language(language)
    return cache(partial(name_key, language=language))


def _by_key(names: Iterable[str], key: Callable[[str], str]) -> dict[str, Counter[str]]:
    """How often each spelling occurs, by what the spellings of one name have in common."""
    spellings: dict[str, Counter[str]] = {}
    for name in names:
        spellings.setdefault(key(name), Counter())[name] += 1
    return spellings


def _one_row_a_name(frame: gpd.GeoDataFrame, join: Any, key: Callable[[str], str]) -> gpd.GeoDataFrame:
    usual = {one: _usual(spellings) for one, spellings in _by_key(frame["name"], key).items()}
    pieces: dict[str, list[Any]] = {}
    for name, shape in zip(frame["name"], frame.geometry, strict=True):
        pieces.setdefault(usual[key(name)], []).append(shape)
    named = {name: join(shapes) for name, shapes in pieces.items()}
    names = sorted(name for name, shape in named.items() if not shape.is_empty)
    return gpd.GeoDataFrame({"name": names}, geometry=[named[name] for name in names], crs=WGS84)


def _usual(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda name: (-spellings[name], name))


def _one_line(shapes: list[Any]) -> Any:
    parts = shapely.get_parts(np.array(shapes, object))
    different = list(dict.fromkeys(shapely.normalize(parts)))
    # Merged end to end, so that names can be written along whole streets.
    merged = shapely.line_merge(shapely.multilinestrings(different))
    return shapely.multilinestrings(shapely.get_parts(merged))


def _one_area(shapes: list[Any]) -> Any:
    whole = shapely.union_all(shapely.make_valid(np.array(shapes, object)))
    areas = [part for part in shapely.get_parts(whole) if part.geom_type in AREAS]
    return areas[0] if len(areas) == 1 else shapely.multipolygons(shapely.get_parts(np.array(areas, object)))


def _number_as_text(value: Any) -> str:
    missing = value is None or value != value
    return "" if missing else f"{value:g}" if isinstance(value, float) else str(value)
