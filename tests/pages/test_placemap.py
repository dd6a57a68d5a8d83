import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import LineString, MultiLineString, Polygon, box

from addressvlm.pages.placemap import LONGER_SIDE, Colouring, place_map


def shapes(**geometries: object) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"name": list(geometries)}, geometry=list(geometries.values()), crs="EPSG:4326")


STREETS = shapes(
    Long=MultiLineString(
        [LineString([(9.0, 45.0), (9.0, 45.005)]), LineString([(9.0, 45.005), (9.0, 45.01)])]
    ),
    Far=MultiLineString([LineString([(19.0, 45.0), (19.0, 45.01)])]),
)
DISTRICTS = shapes(West=box(8.9, 44.9, 9.1, 45.1), Empty=Polygon())
PLACES = pd.DataFrame(
    {"lat": [45.0, 45.01], "lon": [9.0, 9.0], "photos": [3, 1], "told": [["a"], ["b"]]}, index=["l1", "l2"]
)


def lines_of(drawn: dict[str, list[list[int]]]) -> list[list[tuple[int, int]]]:
    """The points of lines that are told by their steps."""
    return [
        [tuple(point) for point in np.cumsum(np.reshape(line, (-1, 2)), axis=0).tolist()]
        for line in drawn["lines"]
    ]


def test_places_lie_where_their_streets_do() -> None:
    drawn = place_map(STREETS, DISTRICTS, PLACES, [Colouring("split", [0, 1], ("train", "val"))])
    (long,) = drawn["streets"]
    assert long["name"] == "Long"  # what lies far away is not drawn
    (line,) = lines_of(long)  # two pieces that meet are one
    assert line == [(drawn["x"][0], drawn["y"][0]), (drawn["x"][1], drawn["y"][1])]


def test_north_is_up_and_a_unit_has_its_length() -> None:
    drawn = place_map(STREETS, DISTRICTS, PLACES, [])
    assert drawn["y"][0] > drawn["y"][1]
    assert max(drawn["width"], drawn["height"]) == LONGER_SIDE
    apart_m = (drawn["y"][0] - drawn["y"][1]) * drawn["unit_m"]
    assert apart_m == pytest.approx(1111.3, abs=1)  # a hundredth of a degree at 45 N
    assert 0 < min(drawn["x"]) <= max(drawn["x"]) < drawn["width"]


def test_a_single_place_and_no_place_are_maps_too() -> None:
    one = place_map(STREETS, DISTRICTS, PLACES.head(1), [])
    assert one["width"] * one["unit_m"] == pytest.approx(216, abs=1)
    none = place_map(STREETS.head(1), DISTRICTS, PLACES.head(0), [])
    assert none["x"] == []
    assert len(none["streets"]) == 1


def test_it_can_be_told_as_json_and_stays_small() -> None:
    generator = np.random.default_rng(0)
    places = pd.DataFrame(
        {
            "lat": 45 + generator.random(17_000) / 10,
            "lon": 9 + generator.random(17_000) / 10,
            "photos": 12,
            "told": [["Long, West", "train: 12 photos · l000001"]] * 17_000,
        }
    )
    split = Colouring("split", generator.integers(0, 3, 17_000).tolist(), ("train", "val", "test"))
    assert len(json.dumps(place_map(STREETS, DISTRICTS, places, [split]))) < 2_000_000
