"""Which tiles the maps of a location need."""

import numpy as np
import pandas as pd

from addressvlm.cities.source import Around
from addressvlm.geo.places import LatLon, Projection
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.tilegrid import Tile, TileStore, tiles_covering, zoom_for

# Tiles are kept that are fine enough for map pictures of these sizes.
_MAP_PX = (336, 672)


def tiles_around(store: TileStore, places: pd.DataFrame, side_m: float) -> Around:
    """The tiles for a map around the middle of any of the places, in the sizes maps are made in."""
    south, north = float(places["lat"].min()), float(places["lat"].max())
    west, east = float(places["lon"].min()), float(places["lon"].max())
    middle = LatLon((south + north) / 2, (west + east) / 2)
    x, y = Projection(middle).to_xy([south, north], [west, east])
    wide_m = side_m + float(max(np.ptp(x), np.ptp(y)))
    tiles: dict[Tile, bool] = {}
    for size_px in _MAP_PX:
        frame = Frame(middle, wide_m, round(size_px * wide_m / side_m))
        tiles.update((tile, store.has(tile)) for tile in tiles_covering(frame, zoom_for(store, frame)))
    had = sorted(tile for tile, there in tiles.items() if there)
    return Around(had, sorted(tiles.keys() - had))
