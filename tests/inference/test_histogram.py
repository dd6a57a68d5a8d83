import geopandas as gpd

from addressvlm.inference.histogram import street_histogram

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
