"""Streets and districts out of the files people have: OSM, GeoJSON, GeoPackage, GeoParquet."""

import ast
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow
import pyogrio

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.cells import cells_of_points
from addressvlm.geo.streets import AREAS, LINES, POINTS, clean_name, in_degrees, keep_usable, street_key

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
# Points alone may also come as a table; GDAL looks for the coordinates under these names.
_TABLES = {".csv": "CSV"}
_LAT, _LON = "lat,latitude,y", "lon,lng,long,longitude,x"
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
    file has; for OSM any tag will do ("name:en"). "predir + name + type" joins several fields, of
    "name:en | name" the first with a text counts. `attrs["dropped"]` counts the pieces left out, by reason.
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
    from_points_m: float | None = None,
) -> gpd.GeoDataFrame:
    """Districts as named areas: columns `name`, `geometry`, in WGS84.

    `aliases` renames ({"Central Business District": "Downtown"}). Of an OSM file these are the administrative
    boundaries of one `admin_level`, or without a level all of them and the areas tagged as suburbs, quarters
    and neighbourhoods. With `from_points_m` the file (which may then be a CSV) has a point for each district,
    which is the ground nearest to it, up to so far. `attrs["dropped"]` counts what was left out, by reason.
    """
    if from_points_m is not None:
        frame = _read(path, "points", f"place IN {_PLACES}", tables=True)
        points = keep_usable(_named(frame, path, name_field, DISTRICT_FIELDS), POINTS)
        if points.empty:
            raise AddressVLMError(f"{path} holds no district as a point: {_dropped(points)}")
        cells = cells_of_points(points, from_points_m)
        cells.attrs["dropped"] = points.attrs["dropped"]
        cells["name"] = _renamed(cells["name"], aliases or {}, path)
        return cells
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


def _read(path: Path, osm_layer: str, osm_where: str, *, tables: bool = False) -> gpd.GeoDataFrame:
    driver = _driver(path, tables)
    try:
        if driver == "Parquet":
            return gpd.read_parquet(path)
        layer, options = _layer(path, driver, osm_layer), {}
        if driver == "OSM":
            options = {"where": osm_where, "TAGS_FORMAT": "JSON"}
        elif driver == "CSV":
            options = {"X_POSSIBLE_NAMES": _LON, "Y_POSSIBLE_NAMES": _LAT}
        return pyogrio.read_dataframe(path, layer=layer, **options)
    except (RuntimeError, pyarrow.ArrowException) as error:  # pyogrio has no common error of its own
        raise AddressVLMError(
            f"{path} cannot be read as {driver}, it is cut or damaged ({_first(error).rstrip('.')}); "
            "get it again, and compare its size or checksum with those of its source"
        ) from error
    except (OSError, ValueError) as error:
        raise AddressVLMError(f"{path} cannot be read as {driver}: {_first(error)}") from error


def _driver(path: Path, tables: bool) -> str:
    if not path.is_file():
        raise AddressVLMError(f"there is no file {path}")
    formats = {**FORMATS, **_TABLES} if tables else FORMATS
    for end in sorted(formats, key=len, reverse=True):
        if path.name.lower().endswith(end):
            return formats[end]
    raise AddressVLMError(
        f"{path} is of no format known here; streets and districts come as {', '.join(formats)}"
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
        return _wished_names(frame, fields, path, name_field)
    for field in usual:
        if field in fields:
            names = [_listed_names(value) for value in frame[fields[field]]]
            if any(any(some) for some in names):
                return names
    raise AddressVLMError(
        f"no names in {path}: none of {', '.join(usual)} is a field with text; "
        f"it has {_listed(fields.values())}; say which field holds names with `streets_name_field` or "
        "`districts_name_field`, or bring a file that has them"
    )


def _wished_names(
    frame: gpd.GeoDataFrame, fields: Mapping[str, str], path: Path, wish: str
) -> list[list[str]]:
    """The names in the field that is wished, "this | or that", or "several + together"."""
    if wish.lower() in fields or not re.search(r"[|+]", wish):
        return _field(frame, fields, path, wish)
    choices = []
    for choice in wish.split("|"):
        parts = [_field(frame, fields, path, field.strip()) for field in choice.split("+")]
        if len(parts) == 1:
            choices.append(parts[0])
        else:
            choices.append(
                [[clean_name(" ".join(" / ".join(p) for p in row))] for row in zip(*parts, strict=True)]
            )
    return [next((some for some in row if any(some)), [""]) for row in zip(*choices, strict=True)]


def _field(frame: gpd.GeoDataFrame, fields: Mapping[str, str], path: Path, wish: str) -> list[list[str]]:
    if wish.lower() in fields:
        return [_listed_names(value) for value in frame[fields[wish.lower()]]]
    if "other_tags" in fields:
        return [_listed_names(_tags(value).get(wish)) for value in frame[fields["other_tags"]]]
    raise UsageError(f"{path} has no field {wish!r}; it has {_listed(fields.values())}")


def _listed_names(value: Any) -> list[str]:
    """The names in a cell; OSMnx writes `['Main Street', "King's Road"]` where it joined two ways."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        value = _python_list(value) or value
    several = value if isinstance(value, list | tuple | np.ndarray) else [value]
    return [clean_name(name) for name in several] or [""]


def _python_list(text: str) -> list[str]:
    """The texts of a list as Python writes it; none where it is something else."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    whole = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return value if whole else []


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
