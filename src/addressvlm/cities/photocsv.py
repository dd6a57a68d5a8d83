"""A CSV of photos: `file`, `lat`, `lon` and, where known, `heading`, `location`, `time` and the like."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from addressvlm.cities.photos import Offer, without_repeats
from addressvlm.errors import AddressVLMError, UsageError

# Our name of a column → what people call it, the likeliest first.
SYNONYMS = {
    "file": ("file", "filename", "file_name", "image", "photo", "path", "filepath", "file_path"),
    "lat": ("lat", "latitude", "gps_latitude", "gpslatitude"),
    "lon": ("lon", "lng", "long", "longitude", "gps_longitude", "gpslongitude"),
    "heading": ("heading", "heading_deg", "bearing", "compass_angle", "compass", "azimuth"),
    "location": ("location", "location_id"),
    "split": ("split",),
    "projection": ("projection", "projection_type", "camera_type", "is_pano"),
    "time": ("time", "timestamp", "datetime", "date_time", "captured_at", "datetime_local"),
}
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def photos_in_csv(
    path: Path, columns: Mapping[str, str], *, images: bool = True, places: bool = True
) -> list[Offer]:
    """Every row of the CSV as an offer, in their order.

    `columns` says how the CSV calls our columns where it has names of its own; files are relative to the CSV.
    With `images` false the rows are places without photos, and a column `file` is not needed; with `places`
    false `lat` and `lon` are not needed, but a `time` that tells them.
    Raises `AddressVLMError` for a file that is not CSV in UTF-8, or lacks a column.
    """
    try:
        needed = (*(("file",) if images else ()), *(("lat", "lon") if places else ("time",)))
        return list(without_repeats(list(_rows(path, columns, images, needed))))
    except UnicodeDecodeError as error:
        raise AddressVLMError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (csv.Error, OSError) as error:
        raise AddressVLMError(f"{path} cannot be read as CSV: {error}") from error


def _rows(path: Path, columns: Mapping[str, str], images: bool, needed: Sequence[str]) -> Iterator[Offer]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = max(",;\t", key=file.readline().count)
        file.seek(0)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(rows, [])]
        places = _places(path, header, columns, needed)
        for row in rows:
            if row:
                offer = offer_of_cells(
                    f"{path.name}:{rows.line_num}", path.parent, _cells(row, places), images
                )
                too_long = len(row) > len(header)
                yield replace(offer, reason="its row has more cells than the header") if too_long else offer


def _places(
    path: Path, header: Sequence[str], columns: Mapping[str, str], needed: Sequence[str]
) -> dict[str, int]:
    """Where each of our columns stands in the CSV."""
    for ours, theirs in columns.items():
        if ours not in SYNONYMS:
            raise UsageError(f"columns: there is no column {ours!r}; there are {', '.join(SYNONYMS)}")
        if theirs not in header:
            raise UsageError(f"columns: {path} has no column {theirs!r}; it has {', '.join(header)}")
    lower = [name.lower() for name in header]
    places = {
        ours: next(lower.index(name) for name in names if name in lower)
        for ours, names in SYNONYMS.items()
        if any(name in lower for name in names)
    }
    places |= {ours: header.index(theirs) for ours, theirs in columns.items()}
    missing = [ours for ours in needed if ours not in places]
    if missing:
        raise AddressVLMError(
            f"{path} has no column {' and no column '.join(missing)}; it has {', '.join(header) or 'none'}; "
            f'say which it is under [columns], as in {missing[0]} = "…"'
        )
    return places


def _cells(row: Sequence[str], places: Mapping[str, int]) -> dict[str, str]:
    return {ours: row[place].strip() if place < len(row) else "" for ours, place in places.items()}


def offer_of_cells(source: str, folder: Path, cells: Mapping[str, str], images: bool) -> Offer:
    """A row with our columns as an offer; `source` names it if it names no file, `folder` holds the files."""
    name = cells.get("file", "")
    offer = Offer(
        name or source,
        folder / name if images and name else None,
        location=cells.get("location", ""),
        time=cells.get("time") or None,
        projection=cells.get("projection", ""),
    )
    split = cells.get("split", "").lower()
    if split and split not in SPLIT_WORDS:
        return replace(offer, reason=f"split is neither train, val nor test: {split!r}")
    offer = replace(offer, split=SPLIT_WORDS.get(split, ""))
    try:
        lat, lon, heading = (_number(key, cells.get(key, "")) for key in ("lat", "lon", "heading"))
    except ValueError as error:
        return replace(offer, reason=str(error))
    reason = "" if offer.path is None or _is_file(offer.path) else "there is no such file"
    if images and not name:
        reason = "no file is named"
    return replace(offer, lat=lat, lon=lon, heading_deg=heading % 360, reason=reason)


def _number(key: str, text: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise ValueError(f"{key} is no number: {text!r}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system allows
        return False
