import geopandas as gpd
import pytest
import shapely
from shapely import Point

from addressvlm.geo.cells import cells_of_points
from addressvlm.geo.places import LatLon, Projection

PLANE = Projection(LatLon(35.69, 139.7))


def points(*rows: tuple[str, float, float]) -> gpd.GeoDataFrame:
    """Points at metres east and north of a place in Tokyo."""
    shapes = [Point(east, north) for _, east, north in rows]
    plane = gpd.GeoDataFrame({"name": [name for name, _, _ in rows]}, geometry=shapes, crs=PLANE.crs)
    return plane.to_crs(4326)


def cells(*rows: tuple[str, float, float], reach_m: float = 500) -> gpd.GeoDataFrame:
    return cells_of_points(points(*rows), reach_m).to_crs(PLANE.crs).set_index("name")


def test_a_border_lies_half_way_between_two_points() -> None:
    both = cells(("West", -100, 0), ("East", 100, 0))
    assert both.geometry["West"].bounds[2] == pytest.approx(0, abs=0.01)
    assert both.geometry["East"].bounds[0] == pytest.approx(0, abs=0.01)


def test_nothing_lies_farther_than_the_reach() -> None:
    assert cells(("West", 0, 0), ("East", 3000, 0)).geometry["West"].area == pytest.approx(785_398, rel=0.01)


def test_a_single_point_is_a_disc() -> None:
    assert cells(("Only", 0, 0)).geometry["Only"].area == pytest.approx(785_398, rel=0.01)


def test_points_of_one_name_share_a_cell() -> None:
    both = cells(("Mita", 0, 0), ("Ebisu", 200, 0), ("Mita", 400, 0))
    assert both.index.tolist() == ["Ebisu", "Mita"]
    assert both.geometry["Ebisu"].bounds[0::2] == pytest.approx((100, 300), abs=0.01)
    assert both.geometry["Mita"].contains(Point(0, 0))
    assert both.geometry["Mita"].contains(Point(400, 0))


def test_a_point_on_another_adds_nothing() -> None:
    assert cells(("Mita", 0, 0), ("Ebisu", 0, 0)).index.tolist() == ["Mita"]


def test_points_in_a_row_have_cells() -> None:
    row = cells(*[(f"{n}", 100.0 * n, 0) for n in range(5)])
    assert not shapely.is_empty(row.geometry.to_numpy()).any()
    assert row.geometry["2"].bounds[0::2] == pytest.approx((150, 250), abs=0.01)
