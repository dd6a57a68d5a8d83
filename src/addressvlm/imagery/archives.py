"""Tiles in one file: MBTiles (SQLite) and PMTiles."""

import importlib
import re
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import sha256
from addressvlm.imagery.opening import image_of
from addressvlm.imagery.tilegrid import Tile

_ENDS = {"png": ".png", "jpg": ".jpg", "jpeg": ".jpg", "webp": ".webp"}
_HEADER_BYTES = 127
# What the reader of PMTiles raises on bytes that it does not understand (found by fuzzing).
_DAMAGED = (
    *(OSError, EOFError, LookupError, ValueError, ArithmeticError, MemoryError),
    *(struct.error, zlib.error),
)
_VECTOR = "holds vector tiles, which show names and lines but no ground; bring a file of pictures"


class MBTiles:
    """An `.mbtiles` file of pictures. Its rows count from the south, ours from the north."""

    zooms_alike = False

    def __init__(self, path: Path):
        self.path = path
        about = self._about
        self.attribution = plain_text(about.get("attribution", ""))
        if about.get("format") in ("pbf", "mvt"):
            raise UsageError(f"{path} {_VECTOR}")
        if not self.zooms:
            raise AddressVLMError(f"{path} holds no tile")

    @property
    def fingerprint(self) -> str:
        """Digest of the file."""
        return sha256(self.path)

    @property
    def ending(self) -> str:
        """By the file's own word."""
        return _ENDS.get(self._about.get("format", ""), ".png")

    @cached_property
    def tile_px(self) -> int:
        """The side of the first tile."""
        row = self._rows("SELECT tile_data FROM tiles LIMIT 1")[0]
        return image_of(bytes(row[0] or b""), f"the first tile of {self.path}").width

    @cached_property
    def zooms(self) -> list[int]:
        """The zooms of all tiles."""
        return [int(row[0]) for row in self._rows("SELECT DISTINCT zoom_level FROM tiles ORDER BY 1")]

    def has(self, tile: Tile) -> bool:
        """Whether the tile has a row."""
        return bool(self._rows(f"SELECT 1 {_ROW}", _from_south(tile)))

    def read(self, tile: Tile) -> bytes:
        """The tile's bytes."""
        rows = self._rows(f"SELECT tile_data {_ROW}", _from_south(tile))
        if not rows or not isinstance(rows[0][0], bytes):
            raise AddressVLMError(f"{self.path} has no tile {tile}")
        return rows[0][0]

    @cached_property
    def _about(self) -> dict[str, str]:
        rows = self._rows("SELECT name, value FROM metadata")
        return {str(name): str(value) for name, value in rows}

    def _rows(self, query: str, values: tuple[int, ...] = ()) -> list[Any]:
        try:
            # Opened each time, which costs little: a connection must not wander to another thread or process.
            with closing(sqlite3.connect(self._uri, uri=True)) as file:
                return file.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise AddressVLMError(
                f"{self.path} cannot be read as MBTiles, it is cut or damaged, or no MBTiles: {error}"
            ) from error

    @property
    def _uri(self) -> str:
        return f"file:{quote(str(self.path.resolve()))}?mode=ro"


_ROW = "FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ? LIMIT 1"


class PMTiles:
    """A `.pmtiles` file of pictures."""

    zooms_alike = False

    def __init__(self, path: Path):
        self.path = path
        types = _pmtiles("tile").TileType
        with self._damage_told():
            header, about = self._reader.header(), self._reader.metadata()
            ends = header["tile_data_offset"] + header["tile_data_length"]
            if path.stat().st_size < ends:
                raise EOFError(f"it has {path.stat().st_size} of {ends} bytes")
        kind = header["tile_type"]
        if kind == types.MVT:
            raise UsageError(f"{path} {_VECTOR}")
        self.ending = {types.JPEG: ".jpg", types.WEBP: ".webp"}.get(kind, ".png")
        self.attribution = plain_text(str(about.get("attribution", "")))
        self.zooms = range(header["min_zoom"], header["max_zoom"] + 1)

    @property
    def fingerprint(self) -> str:
        """Digest of the file."""
        return sha256(self.path)

    @cached_property
    def tile_px(self) -> int:
        """The side of the first tile."""
        tiles = _pmtiles("reader").all_tiles(self._bytes)
        with self._damage_told():
            _, data = next(iter(tiles), (None, b""))
        return image_of(data, f"the first tile of {self.path}").width

    def has(self, tile: Tile) -> bool:
        """Whether the directory lists the tile."""
        return bool(self._get(tile))

    def read(self, tile: Tile) -> bytes:
        """The tile's bytes."""
        data = self._get(tile)
        if not data:
            raise AddressVLMError(f"{self.path} has no tile {tile}")
        return data

    def _get(self, tile: Tile) -> bytes:
        with self._damage_told():
            return self._reader.get(*tile) or b""

    @cached_property
    def _reader(self) -> Any:
        return _pmtiles("reader").Reader(self._bytes)

    def _bytes(self, offset: int, length: int) -> bytes:
        size = self.path.stat().st_size
        if not 0 <= offset <= offset + length <= max(size, _HEADER_BYTES):
            raise EOFError(f"it has {size} bytes and points behind them")
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except (_pmtiles("tile").MagicNumberNotFound, _pmtiles("tile").SpecVersionUnsupported) as error:
            raise AddressVLMError(f"{self.path} is no PMTiles of version 3") from error
        except _DAMAGED as error:
            raise AddressVLMError(f"{self.path} is cut or damaged: {error}; copy it again") from error


def plain_text(markup: str) -> str:
    """An attribution without its HTML."""
    return " ".join(re.sub(r"<[^>]*>", " ", markup).split())


def _from_south(tile: Tile) -> tuple[int, int, int]:
    zoom, x, y = tile
    return zoom, x, 2**zoom - 1 - y


def _pmtiles(module: str) -> Any:
    try:
        return importlib.import_module(f"pmtiles.{module}")
    except ImportError as error:
        raise UsageError("PMTiles need one more library: pip install 'addressvlm[imagery]'") from error
