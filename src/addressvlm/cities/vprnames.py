"""Photos whose file names tell where they were taken: the `@` names of visual place recognition data sets.

    @UTM_east@UTM_north@zone@letter@lat@lon@pano_id@tile@heading@pitch@roll@height@timestamp@note@.jpg

Only the UTM fields must be there; SF-XL, Tokyo 24/7 and converted Pitts250k are named so.
"""

import gzip
import math
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

import pyproj

from addressvlm.cities.photos import Offer
from addressvlm.errors import AddressVLMError

FIELDS = (
    *("utm_east", "utm_north", "zone", "letter", "lat", "lon", "pano_id", "tile"),
    *("heading", "pitch", "roll", "height", "timestamp", "note"),
)
# Degrees in a name are rounded to about a metre, and some data sets round both more.
_APART_M = 20.0
_BANDS = "CDEFGHJKLMNPQRSTUVWX"  # from south to north; the northern half begins with N


def has_vpr_name(name: str) -> bool:
    """Whether a file is named in this way."""
    return PurePosixPath(name).name.startswith("@")


def offer_of_name(name: str, path: Path | None = None) -> Offer:
    """The photo of a file name: its place, heading and time, or why they cannot be read from it."""
    values = _fields(name)
    if len(values) < 4:
        return Offer(name, path, reason="its name has no four UTM fields behind @")
    named = dict(zip(FIELDS, [*values, *[""] * len(FIELDS)], strict=False))
    try:
        lat, lon = _place(named)
        heading_deg, pitch_deg = (_number(named[key], key) for key in ("heading", "pitch"))
    except ValueError as error:
        return Offer(name, path, reason=str(error))
    return Offer(
        name,
        path,
        lat=lat,
        lon=lon,
        heading_deg=heading_deg % 360,
        pitch_deg=pitch_deg,
        time=_time(named["timestamp"]),
    )


def is_list_of_names(path: Path) -> bool:
    """Whether a file lists such names, one a line, as text or packed by gzip."""
    if not path.name.lower().endswith((".txt", ".txt.gz")):
        return False
    names = names_in_list(path)
    return bool(names) and has_vpr_name(names[0])


def names_in_list(path: Path) -> list[str]:
    """The lines of a list of names."""
    try:
        packed = path.read_bytes()
        text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise AddressVLMError(f"{path} cannot be read as a list of names: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _fields(name: str) -> Sequence[str]:
    """What stands between the `@` of a file name."""
    inner = PurePosixPath(name).name.removeprefix("@")
    return inner.split("@")[:-1]  # behind the last one is the ending


def _place(named: dict[str, str]) -> tuple[float, float]:
    """Latitude and longitude, from the degrees if there are any, checked against the UTM fields."""
    east, north = (_required(named, key) for key in ("utm_east", "utm_north"))
    zone, letter = named["zone"], named["letter"].upper()
    if not (zone.isdecimal() and 1 <= int(zone) <= 60 and len(letter) == 1 and letter in _BANDS):
        raise ValueError(f"its name has no UTM zone but {zone!r}, {named['letter']!r}")
    lon_utm, lat_utm = _from_utm(int(zone), letter >= "N").transform(east, north)
    if not (math.isfinite(lat_utm) and math.isfinite(lon_utm)):
        raise ValueError(f"its name has UTM coordinates outside of zone {zone}: {east:g}, {north:g}")
    lat, lon = _number(named["lat"], "lat"), _number(named["lon"], "lon")
    if math.isnan(lat) or math.isnan(lon):
        return lat_utm, lon_utm
    apart_m = math.hypot(lat - lat_utm, (lon - lon_utm) * math.cos(math.radians(lat))) * 111_195
    if apart_m > _APART_M:
        raise ValueError(f"UTM and degrees in its name lie {apart_m:.0f} m apart")
    return lat, lon


@lru_cache
def _from_utm(zone: int, north: bool) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(32600 + zone + (0 if north else 100), 4326, always_xy=True)


def _required(named: dict[str, str], key: str) -> float:
    value = _number(named[key], key)
    if math.isnan(value):
        raise ValueError(f"its name has no {key}")
    return value


def _number(text: str, key: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise ValueError(f"{key} in its name is no number: {text!r}") from None


def _time(text: str) -> str | None:
    """A timestamp of digits (201311, 20170802, …) with dashes between year, month and day."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)?.*", text)
    return "-".join(part for part in found.groups() if part) if found else text or None
