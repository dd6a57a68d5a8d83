"""Satellite pictures out of a folder of XYZ tiles (Web Mercator, as the whole web serves them)."""

import glob
import hashlib
import math
import re
from functools import cached_property, lru_cache
from pathlib import Path

from PIL import Image

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.opening import open_image
from addressvlm.imagery.tilegrid import (
    MISSING_COLOUR,
    TILE_ENDS,
    Tile,
    in_tiles,
    tiles_covering,
    zoom_for,
    zoom_wanted,
)
from addressvlm.work import track

_TILES_IN_MEMORY = 128


class XYZTiles:
    """A folder of map tiles; `template` is a path with `{z}`, `{x}` and `{y}` in it, in any order.

    Tiles are JPEG, PNG or WebP squares of one size. What has no tile is grey on a picture; `missing` tells of
    every tile that was wanted and not had why ("no file", or what is wrong with it).
    """

    zooms_alike = False

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
    def fingerprint(self) -> str:
        """A digest of all tiles and their bytes; a copy of the folder has the same."""
        digest = hashlib.sha256()
        for tile in track(sorted(self.tiles), "digest of the tiles"):
            try:
                content = hashlib.sha256(self.read(tile)).hexdigest()
            except AddressVLMError:
                content = ""  # a damaged tile, told where it is needed
            digest.update(f"{tile} {content}\n".encode())
        return digest.hexdigest()

    @property
    def ending(self) -> str:
        """What the template ends with, where that is the ending of a picture."""
        ending = Path(self.template).suffix.lower()
        return ending if ending in TILE_ENDS else ""

    @cached_property
    def zooms(self) -> list[int]:
        """The zooms of all tiles."""
        return sorted({zoom for zoom, _, _ in self.tiles})

    def has(self, tile: Tile) -> bool:
        """Whether the tile has a file."""
        return tile in self.tiles

    def read(self, tile: Tile) -> bytes:
        """The bytes of the tile's file."""
        try:
            return self.path(tile).read_bytes()
        except OSError as error:
            raise AddressVLMError(f"{self.path(tile)} cannot be read: {error.strerror or error}") from error

    @cached_property
    def tile_px(self) -> int:
        """The side of the tiles: that of the first one that can be read."""
        images = (self._open(tile) for tile in sorted(self.tiles))
        first = next((image for image in images if image), None)
        if first is None:
            raise AddressVLMError(
                f"none of the {len(self.tiles)} tiles at {self.template} is a picture; get them again"
            )
        return first.width

    def image(self, frame: Frame) -> Image.Image:
        """The frame as RGB, put together from its tiles and resampled with sub-pixel accuracy.

        Raises `AddressVLMError` where no tile shows any of it.
        """
        zoom = zoom_for(self, frame)
        # Tiles much finer than the picture are scaled down one by one, so that the mosaic stays small.
        side = max(1, self.tile_px >> max(0, zoom - zoom_wanted(frame, self.tile_px)))
        left, top, right, bottom = in_tiles(frame, zoom)
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


def _split(template: str) -> tuple[Path, str]:
    """The folder above all placeholders, and what comes below it."""
    parts = Path(template).parts
    first = next(place for place, part in enumerate(parts) if re.search(r"\{[zxy]\}", part))
    return Path(*parts[:first]), "/".join(parts[first:])
