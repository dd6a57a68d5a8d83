"""Street view and satellite image as one picture: grafting (Sec. 3.2, Eq. 3) and its two rivals (Fig. 2)."""

import math

from PIL import Image

from addressvlm.errors import UsageError


def graft(
    satellite: Image.Image,
    street_view: Image.Image,
    delta: float = 0.5,
    *,
    photo_size: tuple[int, int] | None = None,
) -> Image.Image:
    """Paste the street view into the upper right corner of the square satellite image.

    `delta`, in (0, 1], is the longer side of the pasted photo over the side of the map. `photo_size` is the
    size of the photo where `street_view` has been made smaller, whose sides are rounded.
    """
    left, top, right, bottom = graft_box(_side(satellite), photo_size or street_view.size, delta)
    grafted = satellite.convert("RGB")
    grafted.paste(_resized(street_view, right - left, bottom - top), (left, top))
    return grafted


def graft_box(size_px: int, photo_size: tuple[int, int], delta: float = 0.5) -> tuple[int, int, int, int]:
    """Where on a map of `size_px` a photo of `photo_size` (width, height) goes: left, top, right, bottom.

    The photo keeps its shape; both sides are rounded to the nearest pixel (halves up), to at least one.
    """
    if not 0 < delta <= 1:
        raise UsageError(f"delta is {delta}, but the photo's longer side over the map's must lie in (0, 1]")
    width, height = fitted(photo_size, delta * size_px)
    return (size_px - width, 0, size_px, height)


def stitch(
    satellite: Image.Image,
    street_view: Image.Image,
    *,
    fill: tuple[int, int, int] = (255, 255, 255),
    photo_size: tuple[int, int] | None = None,
) -> Image.Image:
    """Put satellite image (left) and street view (right) side by side at 1:1 on a square as large as the map.

    Each gets half the width; the photo keeps its shape, and `fill` pads what is left above and below.
    `photo_size` is as for `graft`.
    """
    side = _side(satellite)
    stitched = Image.new("RGB", (side, side), fill)
    for left, image, size in ((0, satellite, None), (side // 2, street_view, photo_size)):
        width, height = fitted(size or image.size, side // 2)
        at = (left + (side // 2 - width) // 2, (side - height) // 2)
        stitched.paste(_resized(image, width, height), at)
    return stitched


def pair(satellite: Image.Image, street_view: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The two images apart, for a model that is given both."""
    return satellite.convert("RGB"), street_view.convert("RGB")


def _side(satellite: Image.Image) -> int:
    if satellite.width != satellite.height:
        raise UsageError(
            f"a satellite image must be square, not {satellite.width} x {satellite.height} pixels"
        )
    return satellite.width


def fitted(size: tuple[int, int], longer_px: float) -> tuple[int, int]:
    """`size` (width, height) scaled so that its longer side is `longer_px`; halves are rounded up."""
    scale = longer_px / max(size)
    width, height = (max(1, math.floor(scale * length + 0.5)) for length in size)
    return width, height


def _resized(image: Image.Image, width: int, height: int) -> Image.Image:
    return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
