"""Streets and districts out of the files people have: OSM, GeoJSON, GeoPackage, GeoParquet."""

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow
import pyogrio

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.streets import AREAS, LINES, clean_name, in_degrees, keep_usable, street_key

# The file name's end → the reader GDAL must choose by the content.
FORMATS = {
    ".osm": "OSM",
    ".osm.pbf": "OSM",
    ".pbf": "OSM",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".gpkg": "GPKG",
    ".parquet": "Parquet",
    ".geoparquet": "Parquet",
}
STREET_FIELDS = (
    *("name", "street", "street_name", "streetname", "fullname", "full_name", "strname", "str_name"),
    *("st_name", "stname", "road_name", "roadname", "label"),
)
DISTRICT_FIELDS = (
    *("name", "district", "neighborhood", "neighbourhood", "nhood", "hood", "suburb", "quarter", "borough"),
    *("bezirk", "stadtbezirk", "stadtteil", "ortsteil", "chome", "label"),
)

# Named ways that OSM calls highways and nobody can stand on, or not yet, or not any more.
_NO_STREETS = (
    "('platform', 'proposed', 'construction', 'abandoned', 'razed', 'bus_stop', 'elevator', 'corridor')"
)
_PLACES = "('borough', 'suburb', 'quarter', 'neighbourhood', 'city_district', 'district')"


def read_streets(path: Path, *, name_field: str | None = None) -> gpd.GeoDataFrame:
    """Every named way a person may be on (roads, footways, trails, steps), one row a piece, in WGS84.

    Columns `name` and `geometry`. The name is in `name_field`, or in the first of `STREET_FIELDS` that the
    file has; for OSM any tag will do ("name:en"). `attrs["dropped"]` counts the pieces left out, by reason.
    """
    where = f"highway IS NOT NULL AND highway NOT IN {_NO_STREETS}"
    frame = _read(path, "lines", where)
    kept = keep_usable(_named(frame, path, name_field, STREET_FIELDS), LINES)
    if kept.empty:
        raise AddressVLMError(f"{path} holds no named street: {_dropped(kept)}")
    return kept


def read_districts(
    path: Path,
    *,
    name_field: str | None = None,
    aliases: Mapping[str, str] | None = None,
    admin_level: int | None = None,
) -> gpd.GeoDataFrame:
    """Districts as named areas: columns `name`, `geometry`, in WGS84.

    `aliases` renames ({"Central Business District": "Downtown"}). Of an OSM file these are the administrative
    boundaries of one `admin_level`, or without a level all of them and the areas tagged as suburbs, quarters
    and neighbourhoods. `attrs["dropped"]` counts what was left out, by reason.
    """
    where = f"boundary = 'administrative' OR place IN {_PLACES}"
    if admin_level is not None:
        where = f"boundary = 'administrative' AND admin_level = '{int(admin_level)}'"
    frame = _read(path, "multipolygons", where)
    kept = keep_usable(_named(frame, path, name_field, DISTRICT_FIELDS), AREAS)
    if kept.empty:
        raise AddressVLMError(
            f"{path} holds no district: {_dropped(kept)}; an OSM extract often cuts the boundaries: "
            "bring the districts in a file of their own"
        )
    kept["name"] = _renamed(kept["name"], aliases or {}, path)
    return kept


def _read(path: Path, osm_layer: str, osm_where: str) -> gpd.GeoDataFrame:
    driver = _driver(path)
    try:
        if driver == "Parquet":
            return gpd.read_parquet(path)
        layer, options = _layer(path, driver, osm_layer), {}
        if driver == "OSM":
            options = {"where": osm_where, "TAGS_FORMAT": "JSON"}
        return pyogrio.read_dataframe(path, layer=layer, **options)
    except (RuntimeError, pyarrow.ArrowException) as error:  # pyogrio has no common error of its own
        raise AddressVLMError(
            f"{path} cannot be read as {driver}, it is cut or damaged: {_first(error)}"
        ) from error
    except (OSError, ValueError) as error:
        raise AddressVLMError(f"{path} cannot be read as {driver}: {_first(error)}") from error


def _driver(path: Path) -> str:
    if not path.is_file():
        raise AddressVLMError(f"there is no file {path}")
    for end in sorted(FORMATS, key=len, reverse=True):
        if path.name.lower().endswith(end):
            return FORMATS[end]
    raise AddressVLMError(
        f"{path} is of no format known here; streets and districts come as {', '.join(FORMATS)}"
    )


def _layer(path: Path, driver: str, osm_layer: str) -> str:
    """The layer to read. The content must be what the name says: other formats may point to other files."""
    layers = [str(name) for name, _ in pyogrio.list_layers(path)]
    wanted = osm_layer if driver == "OSM" else layers[0]
    found = pyogrio.read_info(path, layer=wanted)["driver"]
    if found != driver:
        raise AddressVLMError(f"{path} is {found} inside, not {driver} as its name says")
    if driver != "OSM" and len(layers) > 1:
        raise AddressVLMError(
            f"{path} holds several layers ({', '.join(layers)}); save the one to use as its own file"
        )
    return wanted


def _named(
    frame: gpd.GeoDataFrame, path: Path, name_field: str | None, usual: tuple[str, ...]
) -> gpd.GeoDataFrame:
    """One row a name and piece: a piece of several names belongs to each of them."""
    if not isinstance(frame, gpd.GeoDataFrame):
        raise AddressVLMError(f"{path} has no geometry")
    names = _names(frame, path, name_field, usual)
    rows = [row for row, some in enumerate(names) for _ in some]
    table = {"name": [name for some in names for name in some]}
    return in_degrees(
        gpd.GeoDataFrame(table, geometry=frame.geometry.to_numpy()[rows], crs=frame.crs), str(path)
    )


def _names(
    frame: gpd.GeoDataFrame, path: Path, name_field: str | None, usual: Iterable[str]
) -> list[list[str]]:
    """The names of every row, at least one, which may be ""."""
    fields = {str(column).lower(): column for column in frame.columns if column != frame.geometry.name}
    if frame.empty:
        return []
    if name_field is not None:
        if name_field.lower() in fields:
            return [_listed_names(value) for value in frame[fields[name_field.lower()]]]
        if "other_tags" in fields:
            return [_listed_names(_tags(value).get(name_field)) for value in frame[fields["other_tags"]]]
        raise UsageError(f"{path} has no field {name_field!r}; it has {_listed(fields.values())}")
    for field in usual:
        if field in fields:
            names = [_listed_names(value) for value in frame[fields[field]]]
            if any(any(some) for some in names):
                return names
    raise AddressVLMError(
        f"no names in {path}: none of {', '.join(usual)} is a field with text; "
        f"it has {_listed(fields.values())}; say which field holds the name"
    )


def _listed_names(value: Any) -> list[str]:
    """The names in a cell; OSMnx writes "['Main Street', 'Bridge Street']" where it joined two ways."""
    if isinstance(value, str) and value.startswith("['") and value.endswith("']"):
        value = value[2:-2].split("', '")
    several = value if isinstance(value, list | tuple | np.ndarray) else [value]
    return [clean_name(name) for name in several] or [""]


def _tags(value: Any) -> dict[str, str]:
    """The tags without a column of their own; pyogrio hands them over parsed or, before 0.12, as text."""
    tags: dict[str, str] = json.loads(value) if isinstance(value, str) else value
    return tags if isinstance(tags, dict) else {}


def _renamed(names: Iterable[str], aliases: Mapping[str, str], path: Path) -> list[str]:
    known = {street_key(name): name for name in names}
    wanted = {street_key(name): clean_name(alias) for name, alias in aliases.items()}
    for name in aliases:
        if street_key(name) not in known:
            near = difflib.get_close_matches(street_key(name), known, n=1, cutoff=0.0)
            raise UsageError(
                f"alias for {name!r}: {path} has no such district; the nearest is {known[near[0]]!r}"
            )
    return [wanted.get(street_key(name), name) for name in names]


def _dropped(frame: gpd.GeoDataFrame) -> str:
    counts = [f"{count} {reason}" for reason, count in frame.attrs["dropped"].items() if count]
    return ", ".join(counts) or "nothing of the kind in it"


def _first(error: Exception) -> str:
    """What GDAL or Arrow found, without their advice on their own interfaces."""
    return str(error).split(";")[0].split("\n")[0]


def _listed(fields: Iterable[Any]) -> str:
    return ", ".join(repr(str(field)) for field in fields) or "no fields"
