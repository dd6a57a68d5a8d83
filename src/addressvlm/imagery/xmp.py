"""Single values of the XMP in a picture.

Searched for as text: an XML parser would open a door to files from anywhere, for a handful of numbers.
"""

import math
import re

from PIL import Image


def xmp_text(image: Image.Image) -> str:
    """The XMP of an opened JPEG, PNG or WebP; "" where there is none."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return xmp if isinstance(xmp, str) else bytes(xmp).decode("utf-8", "replace")


def xmp_value(xmp: str, name: str) -> str:
    """The value of a name such as `GPano:ProjectionType`, an attribute or an element; "" if none."""
    found = re.search(rf"""\b{name}\s*(?:=\s*["']([^"'<>]*)["']|>([^<]*)<)""", xmp)
    return (found[1] or found[2] or "").strip() if found else ""


def xmp_number(xmp: str, name: str) -> float | None:
    """A finite number, written as 176.3 or as 1763/10."""
    whole, _, parts = xmp_value(xmp, name).partition("/")
    try:
        number = float(whole) / (float(parts) if parts else 1.0)
    except (ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def xmp_degrees(xmp: str, name: str, hemispheres: str) -> float | None:
    """Signed degrees of an angle written as 34,22.91611E or 34,22,55E; `hemispheres` is NS or EW."""
    found = re.fullmatch(rf"(\d+),([\d.]+)(?:,([\d.]+))?([{hemispheres}])", xmp_value(xmp, name))
    if not found:
        return None
    try:
        degrees, minutes, seconds = float(found[1]), float(found[2]), float(found[3] or 0)
    except ValueError:
        return None
    angle = degrees + minutes / 60 + seconds / 3600
    if angle > (90 if hemispheres == "NS" else 180):
        return None
    return angle if found[4] == hemispheres[0] else -angle
