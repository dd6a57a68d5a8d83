"""What a photo's EXIF says of where, which way and when it was taken."""

import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import ExifTags

from addressvlm.geo.places import LatLon
from addressvlm.imagery.opening import exif_tags, opened
from addressvlm.imagery.xmp import xmp_degrees, xmp_number, xmp_text

_OFFSET = re.compile(r"[+-]\d\d:\d\d")


@dataclass(frozen=True)
class ExifPlace:
    """Where, which way and when; None for whatever is absent, unreadable or impossible."""

    point: LatLon | None
    heading_deg: float | None
    time: str | None


def read_exif(path: Path) -> ExifPlace:
    """Read the GPS position, the compass direction of the view and the time of a JPEG, PNG or WebP file.

    `heading_deg` is GPSImgDirection in [0, 360), as written: clockwise from true north, or from magnetic
    north where GPSImgDirectionRef is "M" (the declination, a few degrees in most cities, is not corrected).
    The direction of movement (GPSTrack) is another thing and is not read. `time` is DateTimeOriginal in
    ISO 8601, with its part of a second and its offset from UTC where the camera wrote them.

    Where EXIF has no position, that of the XMP counts. Broken EXIF gives None fields. Raises
    `AddressVLMError` only for what is no image (as `open_image`).
    """
    with opened(path) as image:
        gps = exif_tags(image, ExifTags.IFD.GPSInfo)
        camera = exif_tags(image, ExifTags.IFD.Exif)
        xmp = xmp_text(image)
    point, heading_deg = _point(gps), _heading(gps)
    if point is None:  # some editors keep the place in the XMP alone
        point = _point_of_xmp(xmp)
        if point is not None and heading_deg is None:
            heading_deg = _compass(xmp_number(xmp, "exif:GPSImgDirection"))
    return ExifPlace(point, heading_deg, _time(camera))


def _point(gps: dict[int, Any]) -> LatLon | None:
    lat = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "NS", 90)
    lon = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "EW", 180)
    return None if lat is None or lon is None else LatLon(lat, lon)


def _point_of_xmp(xmp: str) -> LatLon | None:
    lat = xmp_degrees(xmp, "exif:GPSLatitude", "NS")
    lon = xmp_degrees(xmp, "exif:GPSLongitude", "EW")
    return None if lat is None or lon is None else LatLon(lat, lon)


def _degrees(angle: Any, hemisphere: Any, hemispheres: str, limit: float) -> float | None:
    """Degrees, minutes and seconds → signed degrees; None without a hemisphere, which would be a guess."""
    parts = [_number(part) for part in angle] if isinstance(angle, tuple) else [_number(angle)]
    numbers = [part for part in parts if part is not None]
    letter = _text(hemisphere)[:1].upper()
    if len(numbers) < len(parts) or not 1 <= len(parts) <= 3 or not letter or letter not in hemispheres:
        return None
    degrees = sum(number / 60.0**power for power, number in enumerate(numbers))
    if not 0 <= degrees <= limit:
        return None
    return degrees if letter == hemispheres[0] else -degrees


def _heading(gps: dict[int, Any]) -> float | None:
    return _compass(_number(gps.get(ExifTags.GPS.GPSImgDirection)))


def _compass(heading: float | None) -> float | None:
    return heading % 360 if heading is not None and 0 <= heading <= 360 else None


def _time(camera: dict[int, Any]) -> str | None:
    try:
        taken = datetime.strptime(_text(camera.get(ExifTags.Base.DateTimeOriginal))[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    part = _text(camera.get(ExifTags.Base.SubsecTimeOriginal))
    offset = _text(camera.get(ExifTags.Base.OffsetTimeOriginal))
    # A part of a second is metres from a car; Python reads three digits of it, or six.
    second = f".{part[:3]:0<3}" if part.isdecimal() and part.isascii() else ""
    return taken.isoformat() + second + (offset if _OFFSET.fullmatch(offset) else "")


def _number(value: Any) -> float | None:
    """A finite number, or None: a rational with a zero denominator is what cameras write without a fix."""
    try:
        number = float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 ") if isinstance(value, str) else ""
