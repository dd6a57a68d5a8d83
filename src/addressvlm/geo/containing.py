"""The district of many points at once: a raster of cells that lie whole in one, exact tests elsewhere."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NONE = -1
_MIXED = -2
_MOST_CELLS = 250_000
_CENTIMETRE = 2  # decimals: nearer than this is equally near


class DistrictIndex:
    """Districts in a metric plane, one shape a district; a district's number is its place among them."""

    def __init__(self, districts: npt.NDArray[Any], tolerance_m: float, *, points: int = _MOST_CELLS):
        cells = min(max(points, 1), _MOST_CELLS)  # a cell costs as much as an exact test of a point
        self._districts = districts
        self._tolerance_m = tolerance_m
        west, south, east, north = shapely.total_bounds(districts) + tolerance_m * np.array([-1, -1, 1, 1])
        self._cell_m = max(float(np.sqrt((east - west) * (north - south) / cells)), 0.01)
        self._corner = (float(west), float(south))
        columns, rows = (int(side // self._cell_m) + 1 for side in (east - west, north - south))
        self._raster = self._rasterised(columns, rows)

    def find(self, x: Floats, y: Floats) -> Ints:
        """Number of the district of each point, -1 for none: the smallest around it, else the nearest.

        The nearest counts within the tolerance; of equal ones the smaller, then the lower number.
        """
        rows, columns = self._raster.shape
        column, row = (
            ((values - start) // self._cell_m).astype(np.int64)
            for values, start in zip((x, y), self._corner, strict=True)
        )
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        found = np.full(len(x), NONE, np.int64)
        found[inside] = self._raster[row[inside], column[inside]]
        unsure = np.flatnonzero(found == _MIXED)
        found[unsure] = _exact(
            self._districts, np.asarray(shapely.points(x[unsure], y[unsure])), self._tolerance_m
        )
        return found

    def _rasterised(self, columns: int, rows: int) -> npt.NDArray[np.int32]:
        """The district of every cell, `_MIXED` where a border, or the end of the tolerance, may cross it."""
        x, y = (
            start + (np.arange(number) + 0.5) * self._cell_m
            for start, number in zip(self._corner, (columns, rows), strict=True)
        )
        grid_x, grid_y = (grid.ravel() for grid in np.meshgrid(x, y))
        middles: npt.NDArray[Any] = np.asarray(shapely.points(grid_x, grid_y))
        reach_m = self._cell_m * np.sqrt(0.5) + 0.01
        raster = _exact(self._districts, middles, 0.0)
        borders = shapely.boundary(self._districts)
        _, near = shapely.STRtree(middles).query(borders, predicate="dwithin", distance=reach_m)
        outside = np.flatnonzero(raster == NONE)
        close = _exact(self._districts, middles[outside], self._tolerance_m + reach_m) != NONE
        raster[outside[close]] = _MIXED
        raster[near] = _MIXED
        return raster.astype(np.int32).reshape(rows, columns)


def _exact(areas: npt.NDArray[Any], points: npt.NDArray[Any], tolerance_m: float) -> Ints:
    """The district of each point by testing the shapes themselves."""
    shapely.prepare(areas)
    tree = shapely.STRtree(points)
    district, point = tree.query(areas, predicate="intersects")
    pairs = [pd.DataFrame({"point": point, "district": district, "m": 0.0})]
    outside = np.setdiff1d(np.arange(len(points)), point)
    if tolerance_m > 0:
        near_district, near = shapely.STRtree(points[outside]).query(
            areas, predicate="dwithin", distance=tolerance_m
        )
        metres = shapely.distance(areas[near_district], points[outside[near]]).round(_CENTIMETRE)
        pairs.append(pd.DataFrame({"point": outside[near], "district": near_district, "m": metres}))
    found = pd.concat(pairs)
    found["area"] = shapely.area(areas)[found["district"]]
    first = found.sort_values(["point", "m", "area", "district"]).drop_duplicates("point")
    rows = np.full(len(points), NONE, np.int64)
    rows[first["point"]] = first["district"]
    return rows
