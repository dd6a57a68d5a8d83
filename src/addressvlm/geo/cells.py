"""Districts of a city that has but a point for each: the ground nearest to it, up to a distance."""

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from addressvlm.geo.places import Floats, LatLon, Projection
from addressvlm.geo.streets import WGS84

_QUARTER = 16  # straight pieces of a quarter circle: its edge is true to 0.5 % of the radius
_TOGETHER_M = 0.01


def cells_of_points(points: gpd.GeoDataFrame, reach_m: float) -> gpd.GeoDataFrame:
    """Areas for points (columns `name` and `geometry`, WGS84): what is nearer to one name than to any other.

    Nothing lies farther than `reach_m` from its point. Points of one name share a cell; a point that lies on
    one before it adds nothing. One row a name, sorted.
    """
    lon, lat = shapely.get_coordinates(points.geometry.to_numpy()).T
    projection = Projection(LatLon(float((lat.min() + lat.max()) / 2), float((lon.min() + lon.max()) / 2)))
    xy = np.column_stack(projection.to_xy(lat, lon))
    _, first = np.unique(np.round(xy / _TOGETHER_M).astype(np.int64), axis=0, return_index=True)
    first.sort()
    xy, names = xy[first], points["name"].to_numpy(object)[first]
    sites: npt.NDArray[Any] = np.asarray(shapely.points(xy))
    discs = shapely.buffer(sites, reach_m, quad_segs=_QUARTER)
    cells = discs if len(sites) < 2 else shapely.intersection(_nearest_to(xy, reach_m), discs)
    areas = [shapely.union_all(cells[names == name]) for name in sorted(set(names))]
    plane = gpd.GeoDataFrame({"name": sorted(set(names))}, geometry=areas, crs=projection.crs)
    return plane.to_crs(WGS84)


def _nearest_to(xy: Floats, reach_m: float) -> npt.NDArray[Any]:
    """The Voronoi cell of each site, in their order."""
    around = shapely.box(*(xy.min(axis=0) - 2 * reach_m), *(xy.max(axis=0) + 2 * reach_m))
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(xy), extend_to=around))
    sites: npt.NDArray[Any] = np.asarray(shapely.points(xy))
    cell, site = shapely.STRtree(sites).query(cells, predicate="intersects")
    order = np.empty(len(xy), np.int64)
    order[site] = cell
    return cells[order]
