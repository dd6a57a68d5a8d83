import geopandas as gpd
import pytest
from shapely import Polygon, box

from addressvlm.geo.coverage import coverage, overlapping
from addressvlm.geo.streets import street_map


def areas(**shapes: object) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"name": list(shapes)}, geometry=list(shapes.values()), crs=4326)


def test_districts_that_meet_have_nothing_to_tell(
    streets: gpd.GeoDataFrame, districts: gpd.GeoDataFrame
) -> None:
    found = coverage(street_map(streets, districts))
    assert found == {"nested": 0, "overlapping": 0, "holes": 0, "holes_km2": 0.0, "streets_outside": 0.0}


def test_nested_and_overlapping_pairs_are_told_apart(streets: gpd.GeoDataFrame) -> None:
    borough, quarter = box(8.998, 44.999, 9.001, 45.004), box(8.999, 45.0, 9.0, 45.001)
    other = box(9.0005, 44.999, 9.003, 45.004)  # 39 m into the borough
    city = street_map(streets, areas(Borough=borough, Quarter=quarter, Other=other))
    found = coverage(city)
    assert (found["nested"], found["overlapping"]) == (1, 1)
    assert [set(pair) for pair in overlapping(city)] == [{"Borough", "Other"}]


def test_a_hole_between_districts_is_counted_and_measured(streets: gpd.GeoDataFrame) -> None:
    outer, inner = box(8.998, 44.999, 9.003, 45.004), box(9.0, 45.001, 9.001, 45.002)
    ring = Polygon(outer.exterior.coords, [inner.exterior.coords])
    found = coverage(street_map(streets, areas(Ring=ring)))
    assert found["holes"] == 1
    assert found["holes_km2"] == pytest.approx(0.0788 * 0.1112, abs=0.001)


def test_streets_without_a_district_are_measured(streets: gpd.GeoDataFrame) -> None:
    """Of 666 m of northward and 394 m of eastward street, the 333 m of Second Street and half of both others
    lie east of 9.0005.
    """
    found = coverage(street_map(streets, areas(West=box(8.998, 44.999, 9.0005, 45.004))))
    assert found["streets_outside"] == pytest.approx(
        100 * (333.4 + 78.8 + 118.2) / (666.8 + 157.6 + 236.4), abs=0.2
    )
