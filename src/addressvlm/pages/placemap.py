"""A map of places that can be moved and zoomed: what the script in `placemap.js` draws, as numbers.

Thousands of places and the streets of a whole city stay small: coordinates are whole numbers, lines are told
by their steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from addressvlm.geo.places import Bounds, Projection

# Units along the longer side: 17 km of San Francisco give about a metre.
LONGER_SIDE = 16_000
_SIMPLER_THAN = 2.5
_MARGIN = 0.04
_SMALLEST_M = 200.0  # a single place shall not be blown up without end

Degrees = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Colouring:
    """A way to colour the places: the group of each (a number into `names`), called `words` in the page.

    `styles` are the CSS variables of the groups' colours; without, the script chooses a hue for each.
    """

    words: str
    groups: Sequence[int]
    names: Sequence[str]
    styles: Sequence[str] = ()


def place_map(
    streets: gpd.GeoDataFrame,
    districts: gpd.GeoDataFrame,
    places: pd.DataFrame,
    colourings: Sequence[Colouring],
) -> dict[str, Any]:
    """What the script draws, JSON-able, framed around the places.

    `streets` and `districts` have `name` and `geometry` in WGS84. `places` has a row a place: `lat`, `lon`,
    `photos`, `told` (lines about it, a list of texts). Without places the streets are framed.
    """
    frame = _frame(streets, places)
    west, south, east, north = frame.west, frame.south, frame.east, frame.north
    plane = Projection(frame.centre)
    x, y = plane.to_xy([south, north] * 2, [west] * 2 + [east] * 2)
    wide_m, high_m = max(_SMALLEST_M, float(np.ptp(x))), max(_SMALLEST_M, float(np.ptp(y)))
    pad_m = _MARGIN * max(wide_m, high_m)
    unit_m = (max(wide_m, high_m) + 2 * pad_m) / LONGER_SIDE
    width, height = (round((side_m + 2 * pad_m) / unit_m) for side_m in (wide_m, high_m))

    def to_units(lonlat: Degrees) -> Degrees:
        east_m, north_m = plane.to_xy(lonlat[:, 1], lonlat[:, 0])
        return np.column_stack([east_m / unit_m + width / 2, height / 2 - north_m / unit_m])

    window = shapely.box(-0.5 * width, -0.5 * height, 1.5 * width, 1.5 * height)
    spots = to_units(places[["lon", "lat"]].to_numpy(np.float64)).round().astype(int)
    return {
        "width": width,
        "height": height,
        "unit_m": unit_m,
        "streets": _drawn(streets, to_units, window),
        "districts": _drawn(districts, to_units, window),
        "x": spots[:, 0].tolist(),
        "y": spots[:, 1].tolist(),
        "photos": places["photos"].tolist(),
        "told": places["told"].tolist(),
        "colourings": [
            {
                "words": colouring.words,
                "groups": list(colouring.groups),
                "names": list(colouring.names),
                "styles": list(colouring.styles),
            }
            for colouring in colourings
        ],
    }


def _frame(streets: gpd.GeoDataFrame, places: pd.DataFrame) -> Bounds:
    if places.empty:
        return Bounds(*(float(value) for value in streets.total_bounds))
    lat, lon = places["lat"], places["lon"]
    return Bounds(float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))


def _drawn(shapes: gpd.GeoDataFrame, to_units: Any, window: shapely.Geometry) -> list[dict[str, Any]]:
    """Name, a point within, and the lines of every shape that can be seen from the frame."""
    drawn = []
    for name, shape in zip(shapes["name"], shapes.geometry, strict=True):
        if shape is None or shape.is_empty:
            continue
        units = shapely.transform(shape, to_units)
        if not units.intersects(window):
            continue
        if shapely.get_dimensions(units) == 1:
            units = shapely.line_merge(units)
        units = shapely.simplify(units, _SIMPLER_THAN)
        label = shapely.point_on_surface(units)
        drawn.append({"name": name, "x": round(label.x), "y": round(label.y), "lines": _lines(units)})
    return drawn


def _lines(shape: shapely.Geometry) -> list[list[int]]:
    """Each line as its first point and the steps from there; areas as their rings."""
    lines = []
    for part in shapely.get_parts(shape) if shapely.get_dimensions(shape) == 1 else shapely.get_rings(shape):
        points = shapely.get_coordinates(part).round().astype(int)
        steps = np.diff(points, axis=0)
        moved = steps[(steps != 0).any(axis=1)]
        if len(moved):
            lines.append([*points[0].tolist(), *moved.ravel().tolist()])
    return lines
