import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addressvlm.errors import UsageError
from addressvlm.geo.places import Bounds, LatLon, Projection, parse_latlon


def test_the_origin_is_zero() -> None:
    x, y = Projection(LatLon(45.0, 9.0)).to_xy(45.0, 9.0)
    assert (float(x), float(y)) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_a_degree_of_latitude_at_45_is_111_km() -> None:
    _, y = Projection(LatLon(45.0, 9.0)).to_xy(45.01, 9.0)
    assert float(y) == pytest.approx(1111.3, abs=0.5)


@given(st.floats(-80, 80), st.floats(-179, 179), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
def test_there_and_back_is_the_same_point(lat: float, lon: float, north: float, east: float) -> None:
    plane = Projection(LatLon(lat, lon))
    back = plane.to_latlon(*plane.to_xy(lat + north, lon + east))
    np.testing.assert_allclose(back, (lat + north, lon + east), atol=1e-8)


def test_a_square_has_its_side_in_metres() -> None:
    plane = Projection(LatLon(45.0, 9.0))
    box = plane.square(LatLon(45.001, 9.002), 300.0)
    x, y = plane.to_xy([box.south, box.north], [box.west, box.east])
    assert x[1] - x[0] == pytest.approx(300.0, abs=0.1)
    assert y[1] - y[0] == pytest.approx(300.0, abs=0.1)


def test_the_centre_of_bounds_is_the_middle() -> None:
    assert Bounds(west=8.0, south=44.0, east=10.0, north=45.0).centre == LatLon(44.5, 9.0)


def test_a_position_is_read_from_text() -> None:
    assert parse_latlon("40.5, -79.25") == LatLon(40.5, -79.25)


@pytest.mark.parametrize("text", ["", "40.5", "40.5,-79,3", "north,west", "91,0", "0,181", "nan,0"])
def test_what_is_no_position_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="LAT,LON|LAT is from"):
        parse_latlon(text)


def test_numbers_of_numpy_are_an_origin_like_others() -> None:
    plain, numpy = Projection(LatLon(45.0, 9.0)), Projection(LatLon(np.float64(45.0), np.float64(9.0)))
    assert plain.to_xy(45.01, 9.01) == numpy.to_xy(45.01, 9.01)
    assert plain.crs == numpy.crs


def test_the_plane_is_the_one_that_geopandas_projects_to() -> None:
    import geopandas as gpd
    from shapely import Point

    plane = Projection(LatLon(45.0, 9.0))
    point = gpd.GeoSeries([Point(9.3, 45.2)], crs=4326).to_crs(plane.crs)[0]
    np.testing.assert_allclose(plane.to_xy(45.2, 9.3), (point.x, point.y), atol=1e-6)
