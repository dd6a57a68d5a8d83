"""Photos in JSON: points of a GeoJSON, Mapillary's image descriptions, and metadata of its API.

Whatever the form, an entry becomes a row as of a CSV, and is checked like one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from addressvlm.cities.photocsv import SYNONYMS, offer_of_cells
from addressvlm.cities.photos import Offer, without_repeats
from addressvlm.errors import AddressVLMError

Entry = Mapping[str, Any]

# Where the picture of a Mapillary id lies, beside the JSON.
_FILES_OF_ID = ("{}.jpg", "images/{}.jpg", "{}.png", "images/{}.png")


def photos_in_json(path: Path, *, images: bool = True) -> list[Offer]:
    """Every entry as an offer, in their order; files are relative to the JSON.

    With `images` false the entries are places without photos. Raises `AddressVLMError` for a file of another
    form.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise AddressVLMError(f"{path} cannot be read as JSON: {error}") from error
    entries = list(_entries(content))
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise AddressVLMError(
            f"{path} holds no photos: it is neither a GeoJSON with points nor a list of Mapillary images"
        )
    offers = [_offer(path, number, entry, images) for number, entry in enumerate(entries, start=1)]
    return list(without_repeats(offers))


def _entries(content: Any) -> Iterable[Any]:
    """The list of a JSON: itself, GeoJSON's features, the API's data, or the images of several sequences."""
    if isinstance(content, dict):
        for key in ("features", "data"):
            if isinstance(content.get(key), list):
                return list(content[key])
        if all(isinstance(value, list) for value in content.values()):
            return [entry for value in content.values() for entry in value]
        return []
    return content if isinstance(content, list) else []


def _offer(path: Path, number: int, entry: Entry, images: bool) -> Offer:
    source = f"{path.name}:{number}"
    if "error" in entry:  # mapillary_tools says of a photo that it could not read it
        error = entry["error"] if isinstance(entry["error"], dict) else {}
        reason = f"mapillary_tools could not read it: {error.get('message') or 'no reason given'}"
        return Offer(str(entry.get("filename") or source), reason=reason)
    cells = dict(_cells(entry))
    if images and not cells.get("file") and "id" in cells:
        named = [pattern.format(cells["id"]) for pattern in _FILES_OF_ID]
        cells["file"] = next((name for name in named if (path.parent / name).is_file()), named[0])
    offer = offer_of_cells(source, path.parent, cells, images)
    return replace(offer, source=cells["id"]) if "id" in cells and not cells.get("file") else offer


def _cells(entry: Entry) -> Iterator[tuple[str, str]]:
    """Our columns of an entry, as text."""
    values = dict(entry)
    if isinstance(entry.get("properties"), dict):
        values |= entry["properties"]
    heading = entry.get("MAPCompassHeading")
    if isinstance(heading, dict):
        values["heading"] = heading.get("TrueHeading", heading.get("MagneticHeading"))
    point = _point(entry.get("computed_geometry")) or _point(entry.get("geometry"))
    if point:
        values["lon"], values["lat"] = point
    lower = {key.lower(): value for key, value in values.items()}
    for ours in (*SYNONYMS, "id"):
        names = (*_MAPILLARY.get(ours, ()), *SYNONYMS.get(ours, ()))
        found = [lower[name] for name in names if lower.get(name) is not None]
        if found:
            yield ours, _time(found[0]) if ours == "time" else str(found[0]).strip()


# How Mapillary calls our columns, the better first: what it computed comes before what the camera said.
_MAPILLARY = {
    "lat": ("maplatitude",),
    "lon": ("maplongitude",),
    "heading": ("computed_compass_angle", "compass_angle"),
    "time": ("mapcapturetime", "captured_at_ms"),
    "id": ("image_id", "id"),
}


def _point(geometry: Any) -> tuple[Any, Any] | None:
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        return None
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list) or len(coordinates) < 2:
        return None
    return coordinates[0], coordinates[1]


def _time(value: Any) -> str:
    """Milliseconds since 1970 or Mapillary's 2021_02_13_13_24_41_140 as ISO 8601; other texts as they are."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds")
        except (OverflowError, OSError, ValueError):
            return str(value)
    parts = str(value).split("_")
    if len(parts) == 7 and all(part.isdecimal() for part in parts):
        year, month, day, hour, minute, second, milliseconds = parts
        return f"{year}-{month}-{day}T{hour}:{minute}:{second}.{milliseconds}"
    return str(value)
