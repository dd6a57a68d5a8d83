"""A town of four streets and two districts; a block is 0.001 degrees: 111.2 m north, 78.7 m east."""

import geopandas as gpd
import pytest
from shapely import LineString, MultiLineString, Point, box

from addressvlm.geo.streets import StreetMap, street_map

# Two streets run north (First, Second), two east (Oak, Pine); Oak has a hole in its middle.
LINES = {
    "First Street": LineString([(9.000, 45.000), (9.000, 45.003)]),
    "Second Street": LineString([(9.001, 45.000), (9.001, 45.003)]),
    "Oak Avenue": MultiLineString([[(8.999, 45.001), (9.000, 45.001)], [(9.001, 45.001), (9.002, 45.001)]]),
    "Pine Avenue": LineString([(8.999, 45.002), (9.002, 45.002)]),
}
AREAS = {"West": box(8.998, 44.999, 9.0005, 45.004), "East": box(9.0005, 44.999, 9.003, 45.004)}


def table(shapes: dict[str, object]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"name": list(shapes)}, geometry=list(shapes.values()), crs="EPSG:4326")


@pytest.fixture
def streets() -> gpd.GeoDataFrame:
    return table(LINES)


@pytest.fixture
def districts() -> gpd.GeoDataFrame:
    return table(AREAS)


@pytest.fixture
def town(streets: gpd.GeoDataFrame, districts: gpd.GeoDataFrame) -> StreetMap:
    return street_map(streets, districts)


@pytest.fixture
def point() -> Point:
    return Point(9.0, 45.0)
