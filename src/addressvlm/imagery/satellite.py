"""Where satellite pictures come from: one folder of tiles, or a map drawn from the vectors."""

from pathlib import Path
from typing import Protocol

from PIL import Image

from addressvlm.errors import UsageError
from addressvlm.folders import inside
from addressvlm.geo.streets import StreetMap
from addressvlm.imagery.drawnmap import DrawnMap
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.tilegrid import tiles_covering
from addressvlm.imagery.tiles import XYZTiles

__all__ = ["DrawnMap", "Frame", "SatelliteSource", "XYZTiles", "open_satellite", "tiles_covering"]

DRAWN = "streets"


class SatelliteSource(Protocol):
    """Whatever can show a square of ground from above."""

    attribution: str

    def image(self, frame: Frame) -> Image.Image:
        """The frame, RGB, `frame.size_px` square."""


def open_satellite(spec: str, *, folder: Path, street_map: StreetMap, attribution: str) -> SatelliteSource:
    """The source that a city's `satellite` means.

    "streets" is a plain map drawn from the vectors; anything else is a template of tiles under `folder`,
    such as "tiles/{z}/{x}/{y}.png" (JPEG, PNG or WebP); one that leads out of it is an `AddressVLMError`.
    """
    if spec == DRAWN:
        return DrawnMap(street_map, attribution)
    if "://" in spec:
        raise UsageError(f"satellite = {spec!r} is a web address; copy the tiles into a folder and name that")
    tiles = XYZTiles(str(inside(folder, spec)), attribution)
    if not tiles.tiles:
        raise UsageError(f"satellite = {spec!r}: there are no tiles of that name in {folder}")
    return tiles
