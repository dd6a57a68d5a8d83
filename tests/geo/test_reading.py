from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import osmium
import pandas as pd
import pyogrio
import pytest
import shapely
from shapely import LineString, Point

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.reading import read_districts, read_streets

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")

NODES = {1: (9.0, 45.0), 2: (9.001, 45.0), 3: (9.001, 45.001), 4: (9.0, 45.001)}
WAYS: list[tuple[list[int], dict[str, str]]] = [
    ([1, 2], {"highway": "residential", "name": "Oak Avenue", "name:it": "Viale Quercia"}),
    ([2, 3], {"highway": "steps", "name": "Mill Steps"}),
    ([3, 4], {"highway": "path", "name": "River Trail"}),
    ([1, 3], {"highway": "service"}),
    ([1, 4], {"highway": "proposed", "name": "Dream Road"}),
    ([4, 2], {"waterway": "river", "name": "Adda"}),
    ([1, 2, 3, 4, 1], {"boundary": "administrative", "admin_level": "9", "name": "Centro"}),
    ([1, 2, 3, 1], {"place": "suburb", "name": "Borgo"}),
    ([1, 3, 4, 1], {"building": "yes", "name": "Town Hall"}),
]


def write_osm(path: Path) -> Path:
    with osmium.SimpleWriter(path) as writer:
        for number, place in NODES.items():
            writer.add_node(osmium.osm.mutable.Node(id=number, location=place, version=1))
        for number, (nodes, tags) in enumerate(WAYS, start=1):
            writer.add_way(osmium.osm.mutable.Way(id=number, nodes=nodes, tags=tags, version=1))
    return path


def write(suffix: str) -> Callable[[gpd.GeoDataFrame, Path], Path]:
    def to_file(frame: gpd.GeoDataFrame, folder: Path) -> Path:
        path = folder / f"table{suffix}"
        frame.to_parquet(path) if suffix == ".parquet" else frame.to_file(path)
        return path

    return to_file


@pytest.mark.parametrize("suffix", [".osm", ".osm.pbf"])
def test_osm_streets_are_the_named_ways_one_may_be_on(tmp_path: Path, suffix: str) -> None:
    streets = read_streets(write_osm(tmp_path / f"town{suffix}"))
    assert sorted(streets["name"]) == ["Mill Steps", "Oak Avenue", "River Trail"]
    assert streets.attrs["dropped"] == {"without a name": 1, "not a line": 0}


def test_osm_districts_are_boundaries_and_suburbs(tmp_path: Path) -> None:
    assert sorted(read_districts(write_osm(tmp_path / "town.osm"))["name"]) == ["Borgo", "Centro"]


def test_osm_districts_of_one_admin_level(tmp_path: Path) -> None:
    assert read_districts(write_osm(tmp_path / "town.osm"), admin_level=9)["name"].tolist() == ["Centro"]


def test_any_osm_tag_can_be_the_name(tmp_path: Path) -> None:
    streets = read_streets(write_osm(tmp_path / "town.osm"), name_field="name:it")
    assert streets["name"].tolist() == ["Viale Quercia"]


@pytest.mark.parametrize("suffix", [".geojson", ".json", ".gpkg", ".parquet"])
def test_every_table_format_gives_the_same_streets(
    tmp_path: Path, streets: gpd.GeoDataFrame, suffix: str
) -> None:
    read = read_streets(write(suffix)(streets, tmp_path))
    assert read["name"].tolist() == streets["name"].tolist()
    assert shapely.hausdorff_distance(read.geometry.array, streets.geometry.array).max() < 1e-6


@pytest.mark.parametrize("field", ["NAME", "Street", "FULLNAME", "STRNAME"])
def test_the_name_is_found_in_the_usual_fields(tmp_path: Path, streets: gpd.GeoDataFrame, field: str) -> None:
    path = write(".geojson")(streets.rename(columns={"name": field}), tmp_path)
    assert read_streets(path)["name"].tolist() == streets["name"].tolist()


def test_the_field_of_the_name_can_be_given(tmp_path: Path, streets: gpd.GeoDataFrame) -> None:
    path = write(".geojson")(streets.assign(old_name=["A", "B", "C", "D"]), tmp_path)
    assert read_streets(path, name_field="old_name")["name"].tolist() == ["A", "B", "C", "D"]


def test_a_field_that_is_not_there_is_named(tmp_path: Path, streets: gpd.GeoDataFrame) -> None:
    path = write(".geojson")(streets, tmp_path)
    with pytest.raises(UsageError, match=r"no field 'nome'; it has 'name'"):
        read_streets(path, name_field="nome")


def test_a_file_without_names_says_which_fields_it_has(tmp_path: Path, streets: gpd.GeoDataFrame) -> None:
    path = write(".geojson")(streets.rename(columns={"name": "kind"}), tmp_path)
    with pytest.raises(AddressVLMError, match=r"no names in .*table.geojson.*it has 'kind'"):
        read_streets(path)


def test_unnamed_streets_and_points_are_dropped_and_counted(tmp_path: Path) -> None:
    shapes = [LineString([(9, 45), (9.1, 45)]), LineString([(9, 45), (9, 45.1)]), Point(9, 45)]
    frame = gpd.GeoDataFrame({"name": ["Elm", None, "Elm Square"]}, geometry=shapes, crs=4326)
    read = read_streets(write(".geojson")(frame, tmp_path))
    assert read["name"].tolist() == ["Elm"]
    assert read.attrs["dropped"] == {"without a name": 1, "not a line": 1}


@pytest.mark.parametrize("cell", ["['Elm', 'Ash Lane']", '["Elm", "Ash Lane"]'])
def test_a_piece_of_two_names_belongs_to_both(tmp_path: Path, cell: str) -> None:
    shapes = [LineString([(9, 45), (9.1, 45)]), LineString([(9, 45), (9, 45.1)])]
    frame = gpd.GeoDataFrame({"name": [cell, "Elm"]}, geometry=shapes, crs=4326)
    assert read_streets(write(".geojson")(frame, tmp_path))["name"].tolist() == ["Elm", "Ash Lane", "Elm"]


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("""['Main Street', "King's Road"]""", ["Main Street", "King's Road"]),
        ("""["King's Road", "Queen's Way"]""", ["King's Road", "Queen's Way"]),
        ("""['Rue d\\'"En Haut"']""", ["""Rue d'"En Haut\""""]),
        ("[Old Road]", ["[Old Road]"]),
        ("[1, 2]", ["[1, 2]"]),
        ("[" * 100_000 + "]", ["[" * 100_000 + "]"]),
    ],
)
def test_a_list_in_a_cell_is_read_as_python_writes_it(tmp_path: Path, cell: str, names: list[str]) -> None:
    line = LineString([(9, 45), (9.1, 45)])
    frame = gpd.GeoDataFrame({"name": [cell]}, geometry=[line], crs=4326)
    frame.to_parquet(tmp_path / "streets.parquet")
    assert read_streets(tmp_path / "streets.parquet")["name"].tolist() == names


def test_districts_are_renamed_by_aliases(tmp_path: Path, districts: gpd.GeoDataFrame) -> None:
    path = write(".geojson")(districts, tmp_path)
    assert read_districts(path, aliases={"west": "Downtown"})["name"].tolist() == ["Downtown", "East"]


def test_an_alias_for_nothing_names_the_nearest(tmp_path: Path, districts: gpd.GeoDataFrame) -> None:
    path = write(".geojson")(districts, tmp_path)
    with pytest.raises(UsageError, match="'Wset'.*nearest is 'West'"):
        read_districts(path, aliases={"Wset": "Downtown"})


def test_projected_coordinates_become_degrees(tmp_path: Path, streets: gpd.GeoDataFrame) -> None:
    path = write(".gpkg")(streets.to_crs(32632), tmp_path)
    assert read_streets(path).total_bounds[1] == pytest.approx(45.0, abs=1e-6)


def test_geojson_in_metres_is_an_error_that_says_so(tmp_path: Path, streets: gpd.GeoDataFrame) -> None:
    metres = streets.to_crs(32632).set_crs(4326, allow_override=True)
    with pytest.raises(AddressVLMError, match=r"table\.geojson: .* not degrees.* metres or feet"):
        read_streets(write(".geojson")(metres, tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"there is no file .*gone\.osm"):
        read_streets(tmp_path / "gone.osm")


def test_an_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "streets.shp").write_bytes(b"")
    with pytest.raises(AddressVLMError, match=r"streets\.shp is of no format known.*\.gpkg"):
        read_streets(tmp_path / "streets.shp")


@pytest.mark.parametrize("suffix", [".osm", ".osm.pbf", ".geojson", ".gpkg", ".parquet"])
@pytest.mark.parametrize("share", [0.0, 0.5], ids=["empty", "cut"])
def test_an_empty_or_cut_file_is_an_error_that_names_it(
    tmp_path: Path, streets: gpd.GeoDataFrame, suffix: str, share: float
) -> None:
    whole = tmp_path / f"table{suffix}"
    write_osm(whole) if "osm" in suffix else write(suffix)(streets, tmp_path)
    broken = tmp_path / f"broken{suffix}"
    broken.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(AddressVLMError, match=r"broken.* cannot be read") as caught:
        read_streets(broken)
    assert "pbf" not in suffix or "get it again" in str(caught.value)


def test_a_file_that_points_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "town.osm"
    path.write_text('<OGRVRTDataSource><OGRVRTLayer name="lines"></OGRVRTLayer></OGRVRTDataSource>')
    with pytest.raises(AddressVLMError, match=r"town\.osm"):
        read_streets(path)


def test_several_layers_are_listed(tmp_path: Path, streets: gpd.GeoDataFrame) -> None:
    for layer in ("roads", "rails"):
        pyogrio.write_dataframe(streets, tmp_path / "town.gpkg", layer=layer)
    with pytest.raises(AddressVLMError, match=r"several layers \(roads, rails\)"):
        read_streets(tmp_path / "town.gpkg")


def test_a_table_without_geometry_is_an_error(tmp_path: Path) -> None:
    pd.DataFrame({"name": ["Elm"]}).to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(AddressVLMError, match=r"plain\.parquet cannot be read"):
        read_streets(tmp_path / "plain.parquet")


def test_a_file_without_features_holds_no_street(tmp_path: Path) -> None:
    path = tmp_path / "empty.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(AddressVLMError, match="holds no named street"):
        read_streets(path)


def pieces(**columns: list[object]) -> gpd.GeoDataFrame:
    shapes = [LineString([(9, 45), (9.1, 45 + n / 100)]) for n in range(len(next(iter(columns.values()))))]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=4326)


def test_a_name_in_several_fields_is_put_together(tmp_path: Path) -> None:
    frame = pieces(dir=["S", None, None], street=["34TH", "BROADWAY", None], kind=["ST", "", None])
    read = read_streets(write(".geojson")(frame, tmp_path), name_field="dir + street + kind")
    assert read["name"].tolist() == ["S 34TH ST", "BROADWAY"]
    assert read.attrs["dropped"]["without a name"] == 1


def test_of_two_fields_the_first_with_a_text_counts(tmp_path: Path) -> None:
    frame = pieces(name=["улица Оборище", "бул. Дондуков"], **{"name:en": ["Oborishte Street", None]})
    read = read_streets(write(".geojson")(frame, tmp_path), name_field="name:en | name")
    assert read["name"].tolist() == ["Oborishte Street", "бул. Дондуков"]


def test_osm_tags_may_stand_in_for_each_other(tmp_path: Path) -> None:
    read = read_streets(write_osm(tmp_path / "town.osm.pbf"), name_field="name:it|name")
    assert sorted(read["name"]) == ["Mill Steps", "River Trail", "Viale Quercia"]


def test_a_field_among_several_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(".geojson")(pieces(street=["ELM"]), tmp_path)
    with pytest.raises(UsageError, match=r"no field 'typ'; it has 'street'"):
        read_streets(path, name_field="street + typ")


@pytest.mark.parametrize("header", ["name,lat,lon", "town,Latitude,Longitude", "name,lat,lng"])
def test_districts_may_be_points_of_a_csv(tmp_path: Path, header: str) -> None:
    (tmp_path / "points.csv").write_text(f"{header}\n愛住町,35.69,139.719\n荒木町,35.69,139.723\n新宿,,\n")
    field = "town" if header.startswith("town") else None
    read = read_districts(tmp_path / "points.csv", name_field=field, from_points_m=500)
    assert read["name"].tolist() == ["愛住町", "荒木町"]
    assert read.attrs["dropped"] == {"without a name": 0, "not a point": 1}
    assert read.geometry[0].bounds[2] == pytest.approx(139.721, abs=1e-5)


def test_districts_may_be_points_of_osm(tmp_path: Path) -> None:
    path = tmp_path / "town.osm"
    with osmium.SimpleWriter(path) as writer:
        for number, name in enumerate(("Mita", "Ebisu"), start=1):
            tags = {"place": "quarter", "name": name}
            place = (139.7 + number / 100, 35.6)
            writer.add_node(osmium.osm.mutable.Node(id=number, location=place, version=1, tags=tags))
    assert read_districts(path, from_points_m=300)["name"].tolist() == ["Ebisu", "Mita"]


def test_areas_are_no_points(tmp_path: Path, districts: gpd.GeoDataFrame) -> None:
    path = write(".geojson")(districts, tmp_path)
    with pytest.raises(AddressVLMError, match="holds no district as a point: 2 not a point"):
        read_districts(path, from_points_m=300)


def test_a_csv_is_for_points_only(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("name,lat,lon\nMita,35.6,139.7\n")
    with pytest.raises(AddressVLMError, match=r"points\.csv is of no format known"):
        read_districts(tmp_path / "points.csv")


@needs_data
@pytest.mark.parametrize(
    ("reader", "file", "names"),
    [
        (read_streets, "sf_vectors/sf_mission_sample.osm", 27),
        (read_districts, "sf_vectors/click_that_hood_san-francisco.geojson", 37),
        (read_districts, "pittsburgh_vectors/click_that_hood_pittsburgh.geojson", 90),
        (read_districts, "berlin_vectors/click_that_hood_berlin.geojson", 97),
    ],
)
def test_real_files_have_their_names(reader: Callable[[Path], Any], file: str, names: int) -> None:
    assert reader(SHARED / file)["name"].nunique() == names
