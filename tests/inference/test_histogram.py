import json
from pathlib import Path

import geopandas as gpd
import pytest

from addressvlm.inference.histogram import street_histogram, write_geojson

ANSWERS = ["Oak Street", "oak st", "Elm Street.", "the moon", "Oak Street", "North", "", "Low Road, North"]


def test_answers_are_counted_by_street_in_any_spelling(gazetteer: gpd.GeoDataFrame) -> None:
    histogram = street_histogram(ANSWERS, gazetteer)
    assert histogram.streets["name"].tolist() == ["Oak Street", "Elm Street", "Low Road"]
    assert histogram.streets["count"].tolist() == [3, 1, 1]
    assert histogram.shares == {"Oak Street": 0.375, "Elm Street": 0.125, "Low Road": 0.125}
    assert histogram.none_of_these == 0.375  # the moon, a district, nothing
    assert histogram.answers == 8


def test_nothing_but_nonsense_is_none_of_these(gazetteer: gpd.GeoDataFrame) -> None:
    histogram = street_histogram(["x", "y"], gazetteer)
    assert histogram.streets.empty
    assert histogram.none_of_these == 1.0


def test_geojson_holds_shapes_and_shares(gazetteer: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = tmp_path / "streets.geojson"
    write_geojson(street_histogram(ANSWERS, gazetteer), path)
    collection = json.loads(path.read_text("utf-8"))
    first = collection["features"][0]
    assert collection["none_of_these"] == 0.375
    assert first["properties"] == {"name": "Oak Street", "count": 3, "share": 0.375}
    assert first["geometry"] == {"type": "MultiLineString", "coordinates": [[[9.0, 48.0], [9.01, 48.0]]]}


def test_geojson_is_read_by_others(gazetteer: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = tmp_path / "streets.geojson"
    write_geojson(street_histogram(ANSWERS, gazetteer), path)
    table = gpd.read_file(path)
    assert table["share"].tolist() == pytest.approx([0.375, 0.125, 0.125])
    assert table.crs == "EPSG:4326"
