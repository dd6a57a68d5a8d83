"""The photos a user offers, each with its place, or with the reason why it cannot be taken."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from addressvlm.errors import AddressVLMError
from addressvlm.imagery.exif import read_exif
from addressvlm.work import Workers, in_processes, track

# What cameras and phones write; what is not JPEG, PNG or WebP inside is rejected with that reason.
_PHOTO_ENDS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng", ".cr2", ".nef", ".arw", ".raw"),
}

NO_GPS = "has no GPS position in its EXIF"


@dataclass(frozen=True)
class Offer:
    """One photo as it is offered; angles in degrees, NaN where unknown.

    `source` is what the user calls it. Photos with one `location` were taken at one place; without one, their
    coordinates tell. `projection` is what the user says of the picture's geometry; of a panorama that is cut,
    `yaw_deg` is where a view looks from its middle. `district`, `street` and `split` are labels of the user,
    instead of ours. `reason` says why the photo cannot be taken.
    """

    source: str
    path: Path | None = None
    lat: float = math.nan
    lon: float = math.nan
    heading_deg: float = math.nan
    location: str = ""
    time: str | None = None
    pitch_deg: float = math.nan
    reason: str = ""
    projection: str = ""
    yaw_deg: float = math.nan
    district: str = ""
    street: str = ""
    split: str = ""


def photos_in_folder(folder: Path) -> list[Offer]:
    """The image files under a folder, by name; their EXIF is not read yet (see `located`)."""
    return [
        Offer(path.relative_to(folder).as_posix(), path)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _PHOTO_ENDS and not _hidden(path.relative_to(folder)) and path.is_file()
    ]


def located(offers: list[Offer], workers: Workers = None) -> list[Offer]:
    """The offers with the place, heading and time that the EXIF of their files gives."""
    return list(track(in_processes(_with_exif, offers, workers), "reading EXIF", len(offers)))


def without_repeats(offers: list[Offer]) -> Iterator[Offer]:
    """The offers in their order; a file that was offered before is not taken again."""
    seen: set[Path] = set()
    for offer in offers:
        file = offer.path.resolve() if offer.path and not offer.reason else None
        yield replace(offer, reason="is listed twice") if file in seen else offer
        if file:
            seen.add(file)


def shrunk(image: Image.Image, longest_px: int) -> Image.Image:
    """The image with its longer side at most `longest_px`; a smaller one keeps its size."""
    image = image.copy()
    image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    return image


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _with_exif(offer: Offer) -> Offer:
    assert offer.path is not None, "a folder offers files"
    try:
        place = read_exif(offer.path)
    except AddressVLMError as error:
        return replace(offer, reason=without_path(error, offer.path))
    heading_deg = math.nan if place.heading_deg is None else place.heading_deg
    offer = replace(offer, heading_deg=heading_deg, time=place.time)
    if place.point is None:
        return replace(offer, reason=NO_GPS)
    return replace(offer, lat=place.point.lat, lon=place.point.lon)


def without_path(error: AddressVLMError, path: Path) -> str:
    """What is wrong, without the path: a city may be shared, where the photos lay is nobody's business."""
    return str(error).replace(str(path), "").strip()
