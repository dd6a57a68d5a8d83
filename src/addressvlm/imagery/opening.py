"""Photos from anywhere, opened safely: upright RGB pixels, or an error that names the file."""

import base64
import io
import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from addressvlm.errors import AddressVLMError
from addressvlm.folders import write_atomically

MAX_PIXELS = 50_000_000
# Pillow can read some forty formats; bugs and bombs live in the rare ones.
_FORMATS = ("JPEG", "PNG", "WEBP")
# What Pillow's decoders raise on bytes they do not understand (found by fuzzing, see the tests).
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_THE_SIDE = [_UPRIGHT[number] for number in (5, 6, 7, 8)]
_WARNINGS = threading.Lock()
_MOST_COMMENT = 65_533  # bytes in one segment of a JPEG


def open_image(path: Path, *, max_pixels: int = MAX_PIXELS, needed_px: float | None = None) -> Image.Image:
    """The photo's pixels as a fresh RGB image, upright, without any metadata.

    JPEG, PNG and WebP are read, told by their content whatever the file is called. The size is checked
    before anything is decoded. Transparent parts become white, 16-bit grey is scaled to 8 bits, CMYK is
    converted without colour management. Of a multi-picture JPEG (many cameras write them) the first picture
    is taken; animations are refused, because a frame of one is no photo.

    Where `needed_px` is given, a JPEG may be decoded at a half, a quarter or an eighth of its size, as long
    as its longer side stays at least that long: several times faster, for what is made small anyway.

    Raises `AddressVLMError` naming the file and what is wrong with it.
    """
    with opened(path, max_pixels=max_pixels) as image:
        if needed_px is not None:
            scale = needed_px / max(image.size)
            image.draft(None, (math.ceil(scale * image.width), math.ceil(scale * image.height)))
        return _decoded(path, image)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of the photo as `open_image` gives it without `needed_px`; only its header is read."""
    with opened(path) as image:
        turn = _UPRIGHT.get(exif_tags(image).get(ExifTags.Base.Orientation, 1))
        return image.size[::-1] if turn in _ON_THE_SIDE else image.size


def image_of(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """`open_image` of bytes that lie in no file; `name` stands in the errors instead of a path."""
    return _decoded(name, _read_header(name, io.BytesIO(data), max_pixels))


def jpeg(image: Image.Image, rights: str = "", *, quality: int = 92) -> bytes:
    """`image` as JPEG (full colour resolution), without metadata but whom to name for it.

    `rights` becomes the comment of the file. Equal pixels give equal bytes.
    """
    stream = io.BytesIO()
    # Without `comment` Pillow would carry over the one of the file that the image came from.
    rgb = image.convert("RGB")
    rgb.save(stream, "JPEG", quality=quality, subsampling="4:4:4", comment=jpeg_comment(rights))
    return stream.getvalue()


def data_uri(image: Image.Image, *, quality: int = 92) -> str:
    """A picture as text for a page that stands alone; its pixels only, nothing of its EXIF."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(image, quality=quality)).decode('ascii')}"


def save_jpeg(image: Image.Image, path: Path, rights: str = "") -> None:
    """Write `image` as `jpeg` makes it, atomically."""
    with write_atomically(path, durable=False) as temporary:
        temporary.write_bytes(jpeg(image, rights))


def jpeg_comment(text: str) -> bytes:
    """The comment of a JPEG with this text: UTF-8, no longer than it can be."""
    return text.encode()[:_MOST_COMMENT].decode(errors="ignore").encode()


@contextmanager
def opened(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The image of a file with its header read and its size checked, its pixels not yet decoded."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise AddressVLMError(f"{path} cannot be opened: {error.strerror or error}") from error
    with file:
        yield _read_header(path, file, max_pixels)


def exif_tags(image: Image.Image, directory: ExifTags.IFD | None = None) -> dict[int, Any]:
    """The EXIF tags of an opened image, or those of one of its directories; empty if too broken to read."""
    try:
        with _quietly():
            tags = image.getexif()
            return dict(tags if directory is None else tags.get_ifd(directory))
    except _DAMAGED:
        return {}


def _decoded(path: Path | str, image: Image.Image) -> Image.Image:
    try:
        image.load()
        pixels = _as_rgb(_upright(image))
    except _DAMAGED as error:
        raise AddressVLMError(f"{path} is truncated or damaged: its pixels cannot be decoded") from error
    pixels.info.clear()
    return pixels


def _read_header(path: Path | str, file: IO[bytes], max_pixels: int) -> Image.Image:
    too_large = f"{path} has more than {max_pixels / 1e6:g} million pixels; scale it down"
    try:
        with _quietly():
            image = Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise AddressVLMError(too_large) from None
    except UnidentifiedImageError:
        # Pillow's own words hold a memory address.
        empty = file.seek(0, 2) == 0
        raise AddressVLMError(
            f"{path} is {'empty (0 bytes)' if empty else 'not a JPEG, PNG or WebP image'}"
        ) from None
    except _DAMAGED as error:
        raise AddressVLMError(f"{path} is truncated or damaged: its header cannot be read") from error
    if image.width * image.height > max_pixels:
        raise AddressVLMError(too_large)
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise AddressVLMError(f"{path} is an animation; a photo is a single picture")
    return image


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Pillow's warnings (corrupt EXIF, odd multi-picture files, large sizes) back: they name no file.

    `catch_warnings` swaps a global of the process, hence the lock.
    """
    with _WARNINGS, warnings.catch_warnings(action="ignore"):
        yield


def _upright(image: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(exif_tags(image).get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
