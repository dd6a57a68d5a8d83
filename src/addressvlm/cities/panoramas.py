"""Panoramas among the photos of a user: told from others, and cut into views."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from PIL import Image

from addressvlm.cities.photos import Offer, without_path
from addressvlm.errors import AddressVLMError
from addressvlm.imagery.opening import open_image
from addressvlm.imagery.panorama import Pixels, cut_view, panorama_pixels, read_panorama_header
from addressvlm.work import Workers, in_processes, track

# What is said of a whole sphere in a column or in Mapillary's `camera_type` and `is_pano`, and in GPano.
_SPHERES = ("equirectangular", "spherical", "panorama", "360", "true", "1")


@dataclass(frozen=True)
class Cut:
    """How panoramas are cut: `views` evenly around, each `fov_deg` wide, looking `pitch_deg` upwards."""

    views: int
    fov_deg: float = 90.0
    pitch_deg: float = 0.0


def cut_into_views(offers: list[Offer], cut: Cut, workers: Workers = None) -> list[Offer]:
    """The offers, in place of each panorama its views; the first looks at the middle of the picture.

    A panorama is what is said to be one (column `projection`, Mapillary's `camera_type`, GPano in the XMP),
    and where nothing is said, a picture twice as wide as high. The heading of its middle is the offer's, else
    that of the XMP; without one, views have none.
    """
    opened = track(in_processes(_recognised, offers, workers), "looking for panoramas", len(offers))
    return [view for offer in opened for view in _views(offer, cut)]


def view_of(path: Path, yaw_deg: float, cut: Cut, view_px: int) -> Image.Image:
    """One view of the panorama in a file; the pixels of the last file are kept for its other views."""
    status = path.stat()
    pixels = _pixels(path, (status.st_mtime_ns, status.st_size), cut.fov_deg, view_px)
    return cut_view(pixels, yaw_deg, pitch_deg=cut.pitch_deg, fov_deg=cut.fov_deg, view_px=view_px)


def _recognised(offer: Offer) -> Offer:
    """The offer with `yaw_deg` 0 if it is a panorama, and with the heading that its XMP tells."""
    if offer.path is None or offer.reason:
        return offer
    try:
        header = read_panorama_header(offer.path)
    except AddressVLMError as error:
        return replace(offer, reason=without_path(error, offer.path))
    said = (offer.projection or header.projection or "").lower()
    if said not in _SPHERES and (said or not header.whole_sphere):
        return offer
    if not header.whole_sphere:
        size = f"{header.width} x {header.height}"
        return replace(offer, reason=f"is a panorama of a part of the sphere: {size} is not 2:1")
    heading_deg = offer.heading_deg
    if math.isnan(heading_deg) and header.heading_deg is not None:
        heading_deg = header.heading_deg
    return replace(offer, heading_deg=heading_deg, yaw_deg=0.0)


def _views(offer: Offer, cut: Cut) -> Iterator[Offer]:
    if math.isnan(offer.yaw_deg):
        yield offer
        return
    for yaw_deg in _yaws(cut.views):
        heading_deg = (offer.heading_deg + yaw_deg) % 360
        yield replace(offer, yaw_deg=yaw_deg, heading_deg=heading_deg, pitch_deg=cut.pitch_deg)


def _yaws(views: int) -> Iterable[float]:
    return (number * 360 / views for number in range(views))


@lru_cache(maxsize=1)
def _pixels(path: Path, _: tuple[int, int], fov_deg: float, view_px: int) -> Pixels:
    return panorama_pixels(open_image(path), fov_deg, view_px)
