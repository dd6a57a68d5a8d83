"""The one file a user writes to bring a city: `city.toml`."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.naming import checked_language
from addressvlm.geo.streets import clean_name
from addressvlm.imagery.satellite import DRAWN
from addressvlm.imagery.stores import check_imagery, is_web


@dataclass(frozen=True)
class CityFile:
    """The keys of a `city.toml`; paths are relative to it. docs/your-city.md explains each."""

    name: str
    photos: Path
    streets: Path
    districts: Path
    satellite: str = "streets"
    satellite_fetch: bool = False
    satellite_per_second: float = 2.0
    satellite_max_zoom: int = 18
    satellite_tile_px: int = 256
    satellite_cache: str | None = None
    levels: tuple[str, str] = ("district", "street")
    map_side_m: float = 305.0
    radius_m: float = 30.0
    district_tolerance_m: float = 50.0
    photo_px: int = 768
    images: bool = True
    attribution: str = ""
    licence: str = ""
    streets_name_field: str | None = None
    districts_name_field: str | None = None
    districts_admin_level: int | None = None
    districts_from_points_m: float | None = None
    street_language: str | None = None
    district_aliases: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    track: Path | None = None
    track_time_zone: str = "UTC"
    track_clock_ahead_s: float = 0.0
    track_gap_s: float = 30.0
    track_headings: bool = True
    track_camera_deg: float = 0.0
    panorama_views: int = 0
    panorama_fov_deg: float = 90.0
    panorama_pitch_deg: float = 0.0
    place_m: float = 5.0
    duplicates: str = "reject"
    annotations: Mapping[str, Path] = field(default_factory=dict)
    label_aliases: Mapping[str, str] = field(default_factory=dict)


PATHS = ("photos", "streets", "districts", "track")
_TABLES = ("district_aliases", "columns", "label_aliases")
SPLITS = ("train", "val", "test")
_FLAGS = ("images", "track_headings", "satellite_fetch")
_RANGES: dict[str, tuple[float, float]] = {
    "map_side_m": (40, 5000),
    "radius_m": (1, 500),
    "district_tolerance_m": (0, 5000),
    "photo_px": (64, 4096),
    "districts_admin_level": (1, 15),
    "districts_from_points_m": (10, 20_000),
    "satellite_per_second": (0.01, 50),
    "satellite_max_zoom": (1, 24),
    "satellite_tile_px": (64, 2048),
    "track_clock_ahead_s": (-1e9, 1e9),
    "track_gap_s": (0, 86_400),
    "track_camera_deg": (-360, 360),
    "panorama_views": (0, 72),
    "panorama_fov_deg": (10, 150),
    "panorama_pitch_deg": (-90, 90),
    "place_m": (0, 100),
}
_WHOLE = (
    "photo_px",
    "districts_admin_level",
    "panorama_views",
    "satellite_max_zoom",
    "satellite_tile_px",
)
_CHOICES = {"duplicates": ("reject", "keep")}


def read_city_file(path: Path, **overrides: Any) -> CityFile:
    """Read and check a `city.toml`; `overrides` replace its keys.

    Raises `UsageError` for a key that does not exist, is missing or has a value that does not fit, and
    `AddressVLMError` for a file that is not there.
    """
    values = {**_parse(path), **overrides}
    known = {item.name: item for item in fields(CityFile)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise UsageError(f"{path}: there is no key {key!r}; did you mean {near!r}?")
    missing = [key for key, item in known.items() if key not in values and _required(item)]
    if missing:
        raise UsageError(f"{path}: the key {missing[0]!r} is missing")
    file = CityFile(**{key: _checked(path, key, value) for key, value in values.items()})
    _require_leave(path, file)
    return file


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise AddressVLMError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise AddressVLMError(f"{path} cannot be read as TOML: {error}") from error


def _require_leave(path: Path, file: CityFile) -> None:
    """Nothing is fetched without the user's word, and nothing of others is kept without their name."""
    if not is_web(file.satellite):
        return
    if not file.satellite_fetch:
        raise UsageError(
            f"{path}: satellite is a web address, and nothing is fetched from the web unless "
            "satellite_fetch = true says that the terms of the server allow it"
        )
    if not file.attribution.strip():
        raise UsageError(f"{path}: attribution is empty; tiles are not fetched without naming whose they are")


def _required(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _checked(path: Path, key: str, value: Any) -> Any:
    if key in _RANGES:
        return _number(path, key, value)
    if key in _FLAGS:
        return _of_type(path, key, value, bool, "true or false")
    if key in _TABLES:
        return _table(path, key, value)
    if key == "annotations":
        return _annotations(path, _table(path, key, value))
    if key == "levels":
        return _levels(path, value)
    text = _of_type(path, key, value, str, "text in quotes")
    if key in PATHS:
        return _existing(path, key, text)
    if key in _CHOICES and text not in _CHOICES[key]:
        _wrong(path, key, value, " or ".join(f'"{choice}"' for choice in _CHOICES[key]))
    if key == "track_time_zone":
        return _time_zone(path, text)
    if key == "street_language":
        return checked_language(text)
    if key == "satellite_cache":
        return (path.parent / text).as_posix()
    if key == "satellite":
        return _satellite(path, text)
    return clean_name(text) or _wrong(path, key, value, "not empty") if key == "name" else text


def _wrong(path: Path, key: str, value: Any, wanted: str) -> Any:
    raise UsageError(f"{path}: {key} is {wanted}, not {value!r}")


def _of_type(path: Path, key: str, value: Any, kind: type, wanted: str) -> Any:
    return value if isinstance(value, kind) else _wrong(path, key, value, wanted)


def _number(path: Path, key: str, value: Any) -> float:
    low, high = _RANGES[key]
    kinds = (int,) if key in _WHOLE else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if key in _WHOLE else "a number"
        _wrong(path, key, value, f"{kind} from {low:g} to {high:g}")
    return int(value) if key in _WHOLE else float(value)


def _table(path: Path, key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        _wrong(path, key, value, "a table of texts")
    return dict(value)


def _annotations(path: Path, files: Mapping[str, str]) -> dict[str, Path]:
    for split, name in files.items():
        if split not in SPLITS:
            _wrong(path, "annotations", split, f"a table of {', '.join(SPLITS)} and their files")
        if not (path.parent / name).is_file():
            raise AddressVLMError(
                f"{path}: annotations of {split}, {name!r}, are not there (looked for {path.parent / name}); "
                "docs/data-sets.md says where those of Pitts250k and SF-XL come from"
            )
    return {split: path.parent / name for split, name in files.items()}


def _levels(path: Path, value: Any) -> tuple[str, str]:
    names = tuple(value) if isinstance(value, list | tuple) else ()
    if len(names) != 2 or not all(isinstance(name, str) and clean_name(name) for name in names):
        _wrong(path, "levels", value, 'two names such as ["district", "street"]')
    first, second = (clean_name(name) for name in names)
    return (first, second) if first != second else _wrong(path, "levels", value, "two different names")


def _existing(path: Path, key: str, text: str) -> Path:
    target = path.parent / text
    if not target.exists():
        raise AddressVLMError(f"{path}: {key} = {text!r} is not there (looked for {target})")
    return target


def _time_zone(path: Path, text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        _wrong(path, "track_time_zone", text, 'a time zone such as "Europe/Berlin" or "UTC"')
    return text


def _satellite(path: Path, text: str) -> str:
    if text == DRAWN:
        return text
    where = text if is_web(text) else (path.parent / text).as_posix()
    try:
        check_imagery(where)
    except AddressVLMError as error:
        raise type(error)(f"{path}: {error}") from None
    return where
