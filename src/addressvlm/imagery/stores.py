"""Which store of tiles a path or a web address means."""

from dataclasses import dataclass
from pathlib import Path

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.imagery.archives import MBTiles, PMTiles
from addressvlm.imagery.geotiff import GeoTiffs
from addressvlm.imagery.tilegrid import TileStore
from addressvlm.imagery.tiles import XYZTiles
from addressvlm.imagery.webtiles import WebAccess, WebTiles, checked_template

KINDS = (
    'a path with {z}, {x} and {y}, an .mbtiles or .pmtiles file, GeoTIFF (.tif, also "*.tif"), or "streets"'
)
_TIFFS = (".tif", ".tiff")


@dataclass(frozen=True)
class Imagery:
    """Where tiles come from; `web` is how a server may be asked, None: not at all."""

    where: str
    web: WebAccess | None = None


def is_web(where: str) -> bool:
    """Whether imagery comes from a server."""
    return "://" in where


def check_imagery(where: str) -> None:
    """Raise an `AddressVLMError` unless `where` is one of these kinds, and there."""
    if is_web(where):
        checked_template(where)
        return
    suffix = Path(where).suffix.lower()
    if suffix in (".mbtiles", ".pmtiles", *_TIFFS):
        if not _files(where):
            raise AddressVLMError(f"there is no file {where} to take as satellite")
    elif any(where.count(field) != 1 for field in ("{z}", "{x}", "{y}")):
        raise UsageError(f"satellite is {KINDS}, not {where!r}")


def open_store(imagery: Imagery) -> TileStore:
    """The tiles; raises an `AddressVLMError` for what cannot be read as what it should be."""
    where = imagery.where
    if is_web(where):
        if imagery.web is None:
            raise UsageError(f"{where!r} is a web address, and nothing is fetched unless you say so")
        return WebTiles(where, imagery.web)
    suffix = Path(where).suffix.lower()
    if suffix == ".mbtiles":
        return MBTiles(Path(where))
    if suffix == ".pmtiles":
        return PMTiles(Path(where))
    if suffix in _TIFFS:
        return GeoTiffs(_files(where))
    tiles = XYZTiles(where)
    if not tiles.tiles:
        raise AddressVLMError(
            f"there is no tile at {where}; check the folder, and the order of {{z}}, {{x}}, {{y}}"
        )
    return tiles


def _files(where: str) -> list[Path]:
    """The files of a path whose last part may hold `*`, by name."""
    path = Path(where)
    if path.is_file():
        return [path]
    return sorted(path.parent.glob(path.name)) if "*" in path.name else []
