"""Satellite pictures out of a folder of XYZ tiles (Web Mercator, as the whole web serves them)."""

import glob
import math
import re
from functools import cached_property, lru_cache
from pathlib import Path

import mercantile
from PIL import Image

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.opening import open_image

Tile = tuple[int, int, int]  # zoom, x, y

MISSING_COLOUR = (128, 128, 128)
_EQUATOR_M = 2 * math.pi * 6_378_137
_TILES_IN_MEMORY = 128


class XYZTiles:
    """A folder of map tiles; `template` is a path with `{z}`, `{x}` and `{y}` in it, in any order.

    Tiles are JPEG, PNG or WebP squares of one size. What has no tile is grey on a picture; `missing` tells of
    every tile that was wanted and not had why ("no file", or what is wrong with it).
    """

    def __init__(self, template: str, attribution: str = ""):
        if any(template.count(field) != 1 for field in ("{z}", "{x}", "{y}")):
            raise UsageError(f"the tile template {template!r} must hold {{z}}, {{x}} and {{y}}, each once")
        self.template = template
        self.attribution = attribution
        self.missing: dict[Tile, str] = {}
        self._tile_image = lru_cache(_TILES_IN_MEMORY)(self._open)

    def __reduce__(self) -> tuple[type["XYZTiles"], tuple[str, str]]:
        return XYZTiles, (self.template, self.attribution)  # what is remembered stays in its process

    def path(self, tile: Tile) -> Path:
        """The file of a tile."""
        path = self.template
        for field, number in zip(("{z}", "{x}", "{y}"), tile, strict=True):
            path = path.replace(field, str(number))
        return Path(path)

    @cached_property
    def tiles(self) -> frozenset[Tile]:
        """Every tile that has a file."""
        folder, pattern = _split(self.template)
        expression = re.sub(r"\\{([zxy])\\}", r"(?P<\1>[0-9]+)", re.escape(pattern))
        files = folder.glob(re.sub(r"\{[zxy]\}", "*", glob.escape(pattern)))
        matches = (re.fullmatch(expression, file.relative_to(folder).as_posix()) for file in files)
        return frozenset((int(match["z"]), int(match["x"]), int(match["y"])) for match in matches if match)

    @cached_property
    def tile_px(self) -> int:
        """The side of the tiles: that of the first one that can be read."""
        images = (self._open(tile) for tile in sorted(self.tiles))
        first = next((image for image in images if image), None)
        if first is None:
            raise AddressVLMError(f"there is no tile that can be read at {self.template}")
        return first.width

    def zoom_for(self, frame: Frame) -> int:
        """The zoom to show the frame with.

        It is the coarsest one at least as fine as the frame's pixels, or else the finest one. Should tiles be
        missing there, it is the next in that order that has at least a tenth more of the ground.
        """
        wanted = _zoom_wanted(frame, self.tile_px)
        zooms = sorted(
            {zoom for zoom, _, _ in self.tiles}, key=lambda zoom: (zoom < wanted, abs(zoom - wanted))
        )
        best, best_share = zooms[0], 0.0
        for zoom in zooms:
            tiles = tiles_covering(frame, zoom)
            share = len(self.tiles.intersection(tiles)) / len(tiles)
            if share >= best_share + 0.1:
                best, best_share = zoom, share
            if best_share > 0.9:
                break
        return best

    def image(self, frame: Frame) -> Image.Image:
        """The frame as RGB, put together from its tiles and resampled with sub-pixel accuracy.

        Raises `AddressVLMError` where no tile shows any of it.
        """
        zoom = self.zoom_for(frame)
        # Tiles much finer than the picture are scaled down one by one, so that the mosaic stays small.
        side = max(1, self.tile_px >> max(0, zoom - _zoom_wanted(frame, self.tile_px)))
        left, top, right, bottom = _in_tiles(frame, zoom)
        columns, rows = math.floor(left), math.floor(top)
        mosaic_size = (side * (math.ceil(right) - columns), side * (math.ceil(bottom) - rows))
        mosaic = Image.new("RGB", mosaic_size, MISSING_COLOUR)
        found = 0
        for tile in tiles_covering(frame, zoom):
            image = self._tile_image(tile)
            if image:
                found += 1
                at = (side * (tile[1] - columns), side * (tile[2] - rows))
                mosaic.paste(image.resize((side, side), Image.Resampling.BICUBIC), at)
        if not found:
            raise AddressVLMError(
                f"no tile of {self.template} shows the map around ({frame.centre.lat:.5f}, "
                f"{frame.centre.lon:.5f}); add tiles there or leave the place out"
            )
        box = ((left - columns) * side, (top - rows) * side, (right - columns) * side, (bottom - rows) * side)
        return mosaic.resize((frame.size_px, frame.size_px), Image.Resampling.BICUBIC, box=box)

    def _open(self, tile: Tile) -> Image.Image | None:
        reason = "no file"
        if tile in self.tiles:
            try:
                return open_image(self.path(tile))
            except AddressVLMError as error:
                reason = str(error)
        self.missing[tile] = reason
        return None


def tiles_covering(frame: Frame, zoom: int) -> list[Tile]:
    """The tiles that show some of the frame, as (zoom, x, y), by x, then y."""
    left, top, right, bottom = _in_tiles(frame, zoom)
    columns = range(math.floor(left), math.ceil(right))
    rows = range(math.floor(top), math.ceil(bottom))
    return [(zoom, x, y) for x in columns for y in rows]


def _in_tiles(frame: Frame, zoom: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the frame, counted in tiles from the upper left corner of the world."""
    west, north = mercantile.xy(frame.bounds.west, frame.bounds.north)
    east, south = mercantile.xy(frame.bounds.east, frame.bounds.south)
    tiles_per_m = 2**zoom / _EQUATOR_M
    half = 2**zoom / 2
    return (
        half + west * tiles_per_m,
        half - north * tiles_per_m,
        half + east * tiles_per_m,
        half - south * tiles_per_m,
    )


def _zoom_wanted(frame: Frame, tile_px: int) -> int:
    """The coarsest zoom whose pixels are no larger than the frame's."""
    tile_m = tile_px * frame.side_m / frame.size_px
    around_m = _EQUATOR_M * math.cos(math.radians(frame.centre.lat))
    return max(0, math.ceil(math.log2(around_m / tile_m)))


def _split(template: str) -> tuple[Path, str]:
    """The folder above all placeholders, and what comes below it."""
    parts = Path(template).parts
    first = next(place for place, part in enumerate(parts) if re.search(r"\{[zxy]\}", part))
    return Path(*parts[:first]), "/".join(parts[first:])
