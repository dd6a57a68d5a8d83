"""Aerial pictures as GeoTIFF, cut into Web Mercator tiles by looking up every pixel of a tile in them."""

import hashlib
import importlib
import io
import math
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import numpy.typing as npt
from PIL import Image

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import sha256
from addressvlm.imagery.archives import plain_text
from addressvlm.imagery.tilegrid import EQUATOR_M, MISSING_COLOUR, Tile

Bytes = npt.NDArray[np.uint8]

_MERCATOR = "EPSG:3857"
_COARSER = 8  # zooms below the finest one that are offered, too
_TOUCH_M = 0.01  # what shares no more than this only touches
_SAMPLE_PX = 512  # of each picture, to find out how bright it is
_DARKEST, _BRIGHTEST = 2, 98  # percentiles that become 0 and 255 where a picture has more than 8 bits


class GeoTiffs:
    """One or several GeoTIFFs of any reference system; where they overlap, the first one counts.

    Three bands are colours, one is grey or a palette. More than eight bits are stretched, all pictures alike.
    What no picture shows is grey.
    """

    ending = ".png"
    zooms_alike = True
    tile_px = 256

    def __init__(self, paths: Sequence[Path]):
        self.paths = tuple(paths)
        rasterio = _rasterio()
        self._files = [_opened(rasterio, path) for path in self.paths]
        rights = (file.tags().get("TIFFTAG_COPYRIGHT", "") for file in self._files)
        self.attribution = ", ".join(dict.fromkeys(plain_text(text) for text in rights if text))

    @property
    def fingerprint(self) -> str:
        """Digest of the digests of all files."""
        return hashlib.sha256("".join(sha256(path) for path in self.paths).encode()).hexdigest()

    @cached_property
    def zooms(self) -> range:
        """Up to the one whose pixels are as fine as the finest picture's."""
        pixel_m = min((right - left) / file.width for file, (left, _, right, _) in self._places)
        finest = max(0, math.ceil(math.log2(EQUATOR_M / (self.tile_px * pixel_m)) - 0.01))
        return range(max(0, finest - _COARSER), finest + 1)

    def has(self, tile: Tile) -> bool:
        """Whether a picture lies there."""
        box = _box(tile)
        return any(_meet(box, place) for _, place in self._places)

    def read(self, tile: Tile) -> bytes:
        """The tile as PNG."""
        box = _box(tile)
        pixels = np.empty((self.tile_px, self.tile_px, 3), np.uint8)
        pixels[:] = MISSING_COLOUR
        empty = np.ones((self.tile_px, self.tile_px), bool)
        for file, place in self._places:
            if _meet(box, place) and empty.any():
                colours, shown = self._warped(file, box, place)
                pixels[empty & shown] = colours[empty & shown]
                empty &= ~shown
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return stream.getvalue()

    @cached_property
    def _places(self) -> list[tuple[Any, tuple[float, float, float, float]]]:
        """Each picture with its left, bottom, right, top in metres of Web Mercator."""
        return [(file, _place(file)) for file in self._files]

    def _warped(self, file: Any, box: Any, place: tuple[float, ...]) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        """The colours (side, side, 3) of a tile and where (side, side) the picture has any."""
        rasterio = _rasterio()
        side = self.tile_px
        pixel_m = (box.right - box.left) / side
        coarser = pixel_m / ((place[2] - place[0]) / file.width)
        methods = importlib.import_module("rasterio.enums").Resampling
        alpha = "alpha" in (interpretation.name for interpretation in file.colorinterp)
        palette = _palette(file)
        method = methods.average if coarser > 2 else methods.bilinear
        warped = importlib.import_module("rasterio.vrt").WarpedVRT(
            file,
            crs=_MERCATOR,
            transform=rasterio.Affine(pixel_m, 0, box.left, 0, -pixel_m, box.top),
            width=side,
            height=side,
            resampling=methods.nearest if palette is not None else method,
            add_alpha=not alpha,
        )
        try:
            with warped:
                bands = warped.read(_colour_bands(file))
                shown = warped.read(warped.count) > 0
        except rasterio.errors.RasterioError as error:
            raise AddressVLMError(f"{file.name} is cut or damaged: its pixels cannot be read") from error
        if palette is not None:
            return palette[bands[0]], shown
        colours = np.moveaxis(self._eight_bits(bands), 0, -1)
        return np.ascontiguousarray(np.broadcast_to(colours, (side, side, 3))), shown

    def _eight_bits(self, bands: npt.NDArray[Any]) -> Bytes:
        if bands.dtype == np.uint8:
            return np.asarray(bands, np.uint8)
        low, high = self._brightness
        return np.clip((bands - low) * (255 / max(high - low, 1e-9)), 0, 255).round().astype(np.uint8)

    @cached_property
    def _brightness(self) -> tuple[float, float]:
        """What is black and what is white, in all pictures together."""
        samples = []
        for file in self._files:
            size = (min(file.height, _SAMPLE_PX), min(file.width, _SAMPLE_PX))
            bands = file.read(_colour_bands(file), out_shape=(len(_colour_bands(file)), *size))
            samples.append(bands[:, file.dataset_mask(out_shape=size) > 0].ravel())
        low, high = np.percentile(np.concatenate(samples), (_DARKEST, _BRIGHTEST))
        return float(low), float(high)


def _opened(rasterio: Any, path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore", category=rasterio.errors.NotGeoreferencedWarning):
            file = rasterio.open(path, driver="GTiff")  # other formats may point to other files
    except rasterio.errors.RasterioError as error:
        raise AddressVLMError(f"{path} cannot be read as GeoTIFF, it is cut or damaged, or none") from error
    if file.crs is None or file.transform.is_identity:
        raise AddressVLMError(
            f"{path} has no georeference: it does not say where on earth it lies; export it as GeoTIFF with "
            "its reference system, or add that with gdal_edit or QGIS"
        )
    return file


def _place(file: Any) -> tuple[float, float, float, float]:
    bounds = importlib.import_module("rasterio.warp").transform_bounds
    try:
        left, bottom, right, top = (float(edge) for edge in bounds(file.crs, _MERCATOR, *file.bounds))
    except Exception as error:  # errors of PROJ have no class that rasterio would publish
        raise AddressVLMError(
            f"{file.name}: its reference system cannot be turned into Web Mercator"
        ) from error
    if not (right > left and top > bottom and math.isfinite(right - left) and math.isfinite(top - bottom)):
        raise AddressVLMError(f"{file.name} lies nowhere on earth: its georeference is damaged")
    return left, bottom, right, top


def _colour_bands(file: Any) -> list[int]:
    """The numbers of red, green and blue, or of the one grey band."""
    by_name = {meaning.name: number for number, meaning in enumerate(file.colorinterp, start=1)}
    if {"red", "green", "blue"} <= by_name.keys():
        return [by_name[colour] for colour in ("red", "green", "blue")]
    others = [number for name, number in by_name.items() if name == "alpha"]
    plain = [number for number in range(1, file.count + 1) if number not in others]
    return plain[:3] if len(plain) >= 3 else plain[:1]


def _palette(file: Any) -> Bytes | None:
    if file.colorinterp[0].name != "palette":
        return None
    colours = np.zeros((256, 3), np.uint8)
    for number, colour in file.colormap(1).items():
        colours[number % 256] = colour[:3]
    return colours


def _box(tile: Tile) -> Any:
    zoom, x, y = tile
    return mercantile.xy_bounds(x, y, zoom)


def _meet(box: Any, place: tuple[float, ...]) -> bool:
    left, bottom, right, top = place
    wide, high = min(box.right, right) - max(box.left, left), min(box.top, top) - max(box.bottom, bottom)
    return bool(min(wide, high) > _TOUCH_M)


def _rasterio() -> Any:
    try:
        return importlib.import_module("rasterio")
    except ImportError as error:
        raise UsageError("GeoTIFF needs one more library: pip install 'addressvlm[imagery]'") from error
