"""Web Mercator tiles, as the whole web serves them: which ones show a frame, and what can give them."""

import math
from collections.abc import Sequence
from typing import Protocol

import mercantile

from addressvlm.imagery.frames import Frame

Tile = tuple[int, int, int]  # zoom, x, y

MISSING_COLOUR = (128, 128, 128)
EQUATOR_M = 2 * math.pi * 6_378_137
TILE_ENDS = (".png", ".jpg", ".jpeg", ".webp")


class TileStore(Protocol):
    """Tiles of one size, wherever they lie: a folder, one file, a picture to be cut up, a server."""

    attribution: str
    zooms_alike: bool
    """Whether every zoom shows the same ground, so that a hole in one is a hole in all."""

    @property
    def fingerprint(self) -> str:
        """A digest of what decides its tiles."""

    @property
    def ending(self) -> str:
        """What the files of its tiles end with, such as ".png"; the content may still be another."""

    @property
    def tile_px(self) -> int:
        """The side of a tile."""

    @property
    def zooms(self) -> Sequence[int]:
        """Every zoom that it has tiles of, from coarse to fine."""

    def has(self, tile: Tile) -> bool:
        """Whether there is such a tile."""

    def read(self, tile: Tile) -> bytes:
        """The tile as JPEG, PNG or WebP; raises `AddressVLMError` where that cannot be."""


def zoom_for(store: TileStore, frame: Frame) -> int:
    """The zoom to show the frame with.

    It is the coarsest one at least as fine as the frame's pixels, or else the finest one. Should tiles be
    missing there, it is the next in that order that has at least a tenth more of the ground.
    """
    wanted = zoom_wanted(frame, store.tile_px)
    zooms = sorted(store.zooms, key=lambda zoom: (zoom < wanted, abs(zoom - wanted)))
    best, best_share = zooms[0], 0.0
    if store.zooms_alike:
        return best
    for zoom in zooms:
        tiles = tiles_covering(frame, zoom)
        share = sum(store.has(tile) for tile in tiles) / len(tiles)
        if share >= best_share + 0.1:
            best, best_share = zoom, share
        if best_share > 0.9:
            break
    return best


def zoom_wanted(frame: Frame, tile_px: int) -> int:
    """The coarsest zoom whose pixels are no larger than the frame's."""
    tile_m = tile_px * frame.side_m / frame.size_px
    around_m = EQUATOR_M * math.cos(math.radians(frame.centre.lat))
    return max(0, math.ceil(math.log2(around_m / tile_m)))


def tiles_covering(frame: Frame, zoom: int) -> list[Tile]:
    """The tiles that show some of the frame, as (zoom, x, y), by x, then y."""
    left, top, right, bottom = in_tiles(frame, zoom)
    columns = range(math.floor(left), math.ceil(right))
    rows = range(math.floor(top), math.ceil(bottom))
    return [(zoom, x, y) for x in columns for y in rows]


def in_tiles(frame: Frame, zoom: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the frame, counted in tiles from the upper left corner of the world."""
    west, north = mercantile.xy(frame.bounds.west, frame.bounds.north)
    east, south = mercantile.xy(frame.bounds.east, frame.bounds.south)
    tiles_per_m = 2**zoom / EQUATOR_M
    half = 2**zoom / 2
    return (
        half + west * tiles_per_m,
        half - north * tiles_per_m,
        half + east * tiles_per_m,
        half - south * tiles_per_m,
    )
