"""Equirectangular panoramas: what their XMP says, and the perspective views cut out of them.

The picture is 2:1 and shows the whole sphere; its middle is where the panorama looks, columns are degrees to
the right, the top is straight up.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from addressvlm.geo.places import Floats
from addressvlm.imagery.opening import opened
from addressvlm.imagery.xmp import xmp_number, xmp_text, xmp_value

Pixels = npt.NDArray[np.uint8]

# Columns that a resampling filter may look at beyond the seam.
_MARGIN = 64


@dataclass(frozen=True)
class PanoramaHeader:
    """Size in pixels, and what the XMP (GPano) says: None where it says nothing that can be read."""

    width: int
    height: int
    projection: str | None
    heading_deg: float | None

    @property
    def whole_sphere(self) -> bool:
        """Whether the picture can be an equirectangular panorama of all directions."""
        return abs(self.width - 2 * self.height) <= 2


def read_panorama_header(path: Path) -> PanoramaHeader:
    """Size, projection and heading of the middle, without decoding pixels.

    Raises `AddressVLMError` for what is no image (as `open_image`).
    """
    with opened(path) as image:
        xmp, (width, height) = xmp_text(image), image.size
    heading_deg = xmp_number(xmp, "GPano:PoseHeadingDegrees")
    return PanoramaHeader(
        width,
        height,
        xmp_value(xmp, "GPano:ProjectionType").lower() or None,
        None if heading_deg is None else heading_deg % 360,
    )


def panorama_pixels(panorama: Image.Image, fov_deg: float, view_px: int) -> Pixels:
    """The panorama as pixels (height, width, 3), no more of them than a view of this size can show."""
    across = 2 * math.pi * view_px / (2 * math.tan(math.radians(fov_deg) / 2))
    width, height = round(across), round(across * panorama.height / panorama.width)
    pixels = np.asarray(panorama.convert("RGB"))
    if width >= panorama.width:
        return pixels
    # Both ends are continued, so that no filter sees an edge where the sphere has none.
    wide = Image.fromarray(np.pad(pixels, ((0, 0), (_MARGIN, _MARGIN), (0, 0)), "wrap"))
    box = (_MARGIN, 0, _MARGIN + panorama.width, panorama.height)
    return np.asarray(wide.resize((width, height), Image.Resampling.LANCZOS, box=box))


def cut_view(
    pixels: Pixels, yaw_deg: float, *, pitch_deg: float = 0.0, fov_deg: float = 90.0, view_px: int
) -> Image.Image:
    """The square perspective view of the panorama `yaw_deg` to the right of its middle, `pitch_deg` upwards.

    `fov_deg` is the angle between the left and the right edge. The view is no larger than the panorama's own
    pixels allow.
    """
    height, width = pixels.shape[:2]
    focal_px = width / (2 * math.pi)
    own_px = math.floor(2 * focal_px * math.tan(math.radians(fov_deg) / 2) + 0.5)
    right_deg, up_deg = _directions(min(view_px, max(1, own_px)), fov_deg, pitch_deg)
    column = ((right_deg + yaw_deg) / 360 + 0.5) * width - 0.5
    row = np.clip((0.5 - up_deg / 180) * height - 0.5, 0, height - 1)
    return Image.fromarray(_interpolated(pixels, column, row))


def _directions(side_px: int, fov_deg: float, pitch_deg: float) -> tuple[Floats, Floats]:
    """Degrees to the right and upwards at which every pixel of a view looks; both (side, side)."""
    steps = (2 * (np.arange(side_px) + 0.5) / side_px - 1) * math.tan(math.radians(fov_deg) / 2)
    x, y = np.meshgrid(steps, -steps)  # to the right and up, at a distance of 1
    pitch = math.radians(pitch_deg)
    ahead = math.cos(pitch) - y * math.sin(pitch)
    up = math.sin(pitch) + y * math.cos(pitch)
    return np.degrees(np.arctan2(x, ahead)), np.degrees(np.arctan2(up, np.hypot(x, ahead)))


def _interpolated(pixels: Pixels, column: Floats, row: Floats) -> Pixels:
    """The colours at these places, bilinear; columns go around."""
    height, width = pixels.shape[:2]
    left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    across = (column - left).astype(np.float32)[..., None]
    down = (row - top).astype(np.float32)[..., None]
    right, bottom = (left + 1) % width, np.minimum(top + 1, height - 1)
    left %= width
    upper = pixels[top, left] * (1 - across) + pixels[top, right] * across
    lower = pixels[bottom, left] * (1 - across) + pixels[bottom, right] * across
    colours: Pixels = (upper * (1 - down) + lower * down + 0.5).astype(np.uint8)
    return colours
