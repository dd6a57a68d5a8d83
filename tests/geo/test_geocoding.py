from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, box

from addressvlm.geo.geocoding import reverse_geocode
from addressvlm.geo.reading import read_streets
from addressvlm.geo.streets import StreetMap, street_map

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "stuttgart_streetscapes"


def address(town: StreetMap, lat: float, lon: float, **options: float) -> Any:
    return reverse_geocode(town, [lat], [lon], **options).iloc[0]


def test_the_nearest_street_and_the_district_around(town: StreetMap) -> None:
    found = address(town, 45.0025, 9.0001)
    assert (found.district, found.street, found.reason) == ("West", "First Street", "")
    assert found.street_m == pytest.approx(7.9, abs=0.1)


def test_without_another_street_in_reach_there_is_no_runner_up(town: StreetMap) -> None:
    found = address(town, 45.0025, 9.0001)
    assert pd.isna(found.runner_up)
    assert pd.isna(found.margin_m)


def test_a_corner_has_a_runner_up_and_a_small_margin(town: StreetMap) -> None:
    found = address(town, 45.00202, 9.00005)
    assert (found.street, found.runner_up) == ("Pine Avenue", "First Street")
    assert found.margin_m == pytest.approx(3.9 - 2.2, abs=0.1)


def test_the_runner_up_is_a_street_of_another_name(town: StreetMap) -> None:
    found = address(town, 45.001, 9.0005, radius_m=45)
    assert {found.street, found.runner_up} <= {"Oak Avenue", "First Street", "Second Street"}
    assert found.street != found.runner_up


def test_equal_distances_are_decided_by_name(town: StreetMap) -> None:
    found = address(town, 45.002, 9.000)
    assert (found.street, found.runner_up, found.margin_m) == ("First Street", "Pine Avenue", 0)


def test_beyond_the_radius_there_is_no_street(town: StreetMap) -> None:
    found = address(town, 45.0025, 9.0004)
    assert found.reason == "no named street within 30 m"
    assert found.district == "West"
    assert pd.isna(found.street)


def test_a_wider_radius_finds_it(town: StreetMap) -> None:
    assert address(town, 45.0025, 9.0004, radius_m=40).street == "First Street"


def test_a_point_just_over_the_edge_gets_the_nearest_district(streets: gpd.GeoDataFrame) -> None:
    core = gpd.GeoDataFrame({"name": ["Core"]}, geometry=[box(9.0, 44.9, 9.1, 45.1)], crs=4326)
    found = address(street_map(streets, core), 45.0005, 8.9999)
    assert (found.district, found.reason) == ("Core", "")


def test_beyond_the_tolerance_there_is_no_district(streets: gpd.GeoDataFrame) -> None:
    core = gpd.GeoDataFrame({"name": ["Core"]}, geometry=[box(9.002, 44.9, 9.1, 45.1)], crs=4326)
    found = address(street_map(streets, core), 45.0005, 9.0)
    assert (found.street, found.reason) == ("First Street", "no district within 50 m")


def test_of_nested_districts_the_smallest_counts(streets: gpd.GeoDataFrame) -> None:
    nested = gpd.GeoDataFrame(
        {"name": ["City", "Quarter"]}, geometry=[box(8, 44, 10, 46), box(8.9, 44.9, 9.1, 45.1)], crs=4326
    )
    assert address(street_map(streets, nested), 45.0005, 9.0).district == "Quarter"


@pytest.mark.parametrize(
    ("lat", "lon", "reason"),
    [
        (np.nan, 9.0, "no coordinates"),
        (45.0, np.inf, "no coordinates"),
        (0.0, 0.0, "coordinates are 0, 0"),
        (91.0, 9.0, "coordinates are out of range"),
        (45.0, 200.0, "coordinates are out of range"),
        (1.3, 103.8, "outside the city"),
        (45.0048, 9.0, "outside the city"),
        (9.0, 45.0, "outside the city"),
    ],
)
def test_points_without_an_address_say_why(town: StreetMap, lat: float, lon: float, reason: str) -> None:
    assert address(town, lat, lon).reason == reason


def test_no_points_give_an_empty_table(town: StreetMap) -> None:
    assert len(reverse_geocode(town, [], [])) == 0


def test_rows_keep_the_order_of_the_points(town: StreetMap) -> None:
    found = reverse_geocode(town, [45.0025, np.nan, 45.0025], [9.001, 9.0, 9.0])
    assert found["street"].tolist()[::2] == ["Second Street", "First Street"]
    assert found["reason"].tolist() == ["", "no coordinates", ""]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_tree_finds_what_measuring_every_street_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = rng.uniform(0, 0.005, (12, 2, 2)) + (9, 45)
    lines = gpd.GeoDataFrame({"name": list("abcdef" * 2)}, geometry=[LineString(e) for e in ends], crs=4326)
    around = gpd.GeoDataFrame({"name": ["All"]}, geometry=[box(8, 44, 10, 46)], crs=4326)
    city = street_map(lines, around)
    lat, lon = rng.uniform(45, 45.005, 20), rng.uniform(9, 9.005, 20)
    found = reverse_geocode(city, lat, lon, radius_m=1000)
    plane = city.streets.to_crs(city.projection.crs)
    for row, (x, y) in enumerate(zip(*city.projection.to_xy(lat, lon), strict=True)):
        metres = plane.distance(gpd.points_from_xy([x], [y])[0]).round(2)
        first, second = sorted(zip(metres, plane["name"], strict=True))[:2]
        assert (found["street_m"][row], found["street"][row]) == first
        assert found["runner_up"][row] == second[1]
        assert found["margin_m"][row] == pytest.approx(second[0] - first[0], abs=1e-9)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")
def test_stuttgart_positions_get_the_street_their_authors_give() -> None:
    around = gpd.GeoDataFrame({"name": ["Stuttgart"]}, geometry=[box(9.1, 48.7, 9.3, 48.9)], crs=4326)
    city = street_map(read_streets(SHARED / "osm_streets_stuttgart.geojson"), around)
    positions = pd.read_csv(SHARED / "positions.csv").query("city == 'Stuttgart'").dropna(subset="osm_street")
    found = reverse_geocode(city, positions["lat"], positions["lon"])
    assert len(positions) == 825
    assert (found["street"].to_numpy() == positions["osm_street"].to_numpy()).sum() >= 816
