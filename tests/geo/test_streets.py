import geopandas as gpd
import pyproj
import pytest
from shapely import LineString, Point, Polygon, box

from addressvlm.errors import AddressVLMError
from addressvlm.geo.streets import StreetMap, clean_name, street_key, street_map


def lines(*rows: tuple[str, object]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {"name": [name for name, _ in rows]}, geometry=[shape for _, shape in rows], crs=4326
    )


def test_rows_are_sorted_by_name(town: StreetMap) -> None:
    assert town.streets["name"].tolist() == ["First Street", "Oak Avenue", "Pine Avenue", "Second Street"]
    assert town.districts["name"].tolist() == ["East", "West"]


def test_the_pieces_of_a_name_are_one_street(districts: gpd.GeoDataFrame) -> None:
    pieces = lines(
        ("Elm", LineString([(9, 45), (9.001, 45)])), ("Elm", LineString([(9.002, 45), (9.003, 45)]))
    )
    street = street_map(pieces, districts).streets
    assert len(street) == 1
    assert street.geometry[0].geom_type == "MultiLineString"
    assert len(street.geometry[0].geoms) == 2


def test_pieces_that_touch_become_one_line(districts: gpd.GeoDataFrame) -> None:
    pieces = lines(
        ("Elm", LineString([(9, 45), (9.001, 45)])), ("Elm", LineString([(9.001, 45), (9.003, 45)]))
    )
    assert len(street_map(pieces, districts).streets.geometry[0].geoms) == 1


def test_spellings_with_one_key_are_one_street_spelled_as_usual(districts: gpd.GeoDataFrame) -> None:
    here, there = LineString([(9, 45), (9.001, 45)]), LineString([(9.002, 45), (9.003, 45)])
    pieces = lines(("MAIN ST.", here), ("Main St", there), ("Main St", LineString([(9, 45.1), (9.1, 45.1)])))
    assert street_map(pieces, districts).streets["name"].tolist() == ["Main St"]


def test_a_point_is_no_street(districts: gpd.GeoDataFrame, point: Point) -> None:
    with pytest.raises(AddressVLMError, match="no street with a name and a line"):
        street_map(lines(("Elm", point)), districts)


def test_districts_without_names_are_an_error(streets: gpd.GeoDataFrame) -> None:
    with pytest.raises(AddressVLMError, match="no district with a name and an area"):
        street_map(streets, lines(("", box(9, 45, 9.1, 45.1))))


def test_islands_of_one_district_are_one_row(streets: gpd.GeoDataFrame) -> None:
    isles = lines(("Isles", box(9, 45, 9.1, 45.1)), ("Isles", box(9.2, 45, 9.3, 45.1)))
    assert street_map(streets, isles).districts.geometry[0].geom_type == "MultiPolygon"


def test_a_polygon_that_crosses_itself_is_mended(streets: gpd.GeoDataFrame) -> None:
    bow_tie = Polygon([(9, 45), (9.1, 45.1), (9.1, 45), (9, 45.1)])
    assert street_map(streets, lines(("Tie", bow_tie))).districts.geometry[0].is_valid


def test_another_crs_becomes_degrees(streets: gpd.GeoDataFrame, districts: gpd.GeoDataFrame) -> None:
    west, south, _, _ = street_map(streets.to_crs(32632), districts).streets.total_bounds
    assert (west, south) == pytest.approx((8.999, 45.0), abs=1e-6)


def test_metres_that_claim_to_be_degrees_are_an_error(districts: gpd.GeoDataFrame) -> None:
    with pytest.raises(AddressVLMError, match=r"\(512889, 5402871\) are not degrees.*EPSG:4326"):
        street_map(lines(("Elm", LineString([(512000, 5402000), (512889, 5402871)]))), districts)


def test_the_frames_given_are_left_as_they_were(
    streets: gpd.GeoDataFrame, districts: gpd.GeoDataFrame
) -> None:
    before = streets.copy()
    street_map(streets, districts)
    assert streets.equals(before)


def test_bounds_hold_streets_and_districts(town: StreetMap) -> None:
    assert (town.bounds.west, town.bounds.north) == (8.998, 45.004)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Forbes Ave.", "forbes  ave"), ("STRASSE", "straße"), ("O’Hara", "O'Hara"), ("Ａve", "Ave")],
)
def test_spellings_compare_equal(one: str, other: str) -> None:
    assert street_key(one) == street_key(other)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("  Fifth \n Avenue ", "Fifth Avenue"),
        (None, ""),
        (float("nan"), ""),
        ("<Null>", ""),
        (5, "5"),
        (5.0, "5"),
    ],
)
def test_names_are_cleaned(value: object, name: str) -> None:
    assert clean_name(value) == name


def test_decomposed_letters_are_composed() -> None:
    assert clean_name("Tu\u0308binger Straße") == "Tübinger Straße"


def test_metres_are_true_at_the_streets_though_a_district_is_a_continent() -> None:
    streets = gpd.GeoDataFrame(
        {"name": ["Woodward Avenue"]},
        geometry=[LineString([(-83.05, 42.33), (-83.06, 42.35)])],
        crs="EPSG:4326",
    )
    districts = gpd.GeoDataFrame({"name": ["West"]}, geometry=[box(-179, 18, 179, 71)], crs="EPSG:4326")
    plane = street_map(streets, districts).projection
    x, _ = plane.to_xy([42.34, 42.34], [-83.05, -83.049])
    metres = pyproj.Geod(ellps="WGS84").inv(-83.05, 42.34, -83.049, 42.34)[2]
    assert x[1] - x[0] == pytest.approx(metres, rel=1e-5)


def test_a_city_s_plane_is_centred_in_its_box(town: StreetMap) -> None:
    assert town.projection.origin == town.bounds.centre
