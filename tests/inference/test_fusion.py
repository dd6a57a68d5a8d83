import geopandas as gpd
import numpy as np
import pytest
import shapely

from addressvlm.errors import UsageError
from addressvlm.geo.places import LatLon
from addressvlm.inference.fusion import fuse, normalised, of_districts, of_streets, pairs_before, pairs_near
from addressvlm.inference.gazetteer import Gazetteer

TOWN = Gazetteer(("North", "South"), ("Oak", "Elm"), ((0, 0), (1, 0), (1, 1)), {}, {})


def probabilities(log_p: np.ndarray) -> list[float]:
    return np.exp(log_p).round(6).tolist()


def test_normalised_keeps_proportions_and_sums_to_one() -> None:
    assert probabilities(normalised(np.log([[0.1, 0.3], [0.5, 0.0001]]))) == [[0.25, 0.75], [0.9998, 0.0002]]


def test_photos_multiply() -> None:
    photos = np.log([[0.6, 0.4], [0.75, 0.25]])
    assert probabilities(fuse(photos)) == pytest.approx([0.45 / 0.55, 0.1 / 0.55], abs=1e-6)


def test_the_prior_counts_once() -> None:
    # Each photo says no more than the prior did: together they say no more either.
    prior = np.log([0.9, 0.1])
    assert probabilities(fuse(np.log([[0.9, 0.1]] * 5), prior)) == [0.9, 0.1]


def test_one_photo_is_believed_as_it_is() -> None:
    belief = np.log([[0.2, 0.5, 0.3]])
    for independence in (0.0, 0.5, 1.0):
        fused = fuse(belief, np.log([0.1, 0.1, 0.8]), independence=independence)
        assert probabilities(fused) == [0.2, 0.5, 0.3]


def test_copies_of_a_photo_weigh_as_one_without_independence() -> None:
    belief = np.log([0.2, 0.8])
    assert probabilities(fuse(np.stack([belief] * 9), independence=0)) == [0.2, 0.8]
    assert fuse(np.stack([belief] * 9), independence=0.5)[1] > belief[1]


def test_an_impossible_independence_is_an_error() -> None:
    with pytest.raises(UsageError, match="independence is 2"):
        fuse(np.log([[0.5, 0.5]]), independence=2)


def test_pairs_tell_of_streets_and_districts() -> None:
    pairs = np.log([0.5, 0.2, 0.3])
    assert probabilities(of_streets(TOWN, pairs)) == [0.7, 0.3]
    assert probabilities(of_districts(TOWN, pairs)) == [0.5, 0.5]
    assert of_streets(TOWN, np.stack([pairs, pairs])).shape == (2, 2)


@pytest.fixture
def town() -> gpd.GeoDataFrame:
    """Oak runs south from North into South; Elm lies in South, a kilometre farther down."""
    rows = [("district", "North"), ("district", "South"), ("street", "Oak"), ("street", "Elm")]
    shapes = [
        shapely.box(9.0, 48.0, 9.02, 48.01),
        shapely.box(9.0, 47.98, 9.02, 48.0),
        shapely.LineString([(9.01, 48.004), (9.01, 47.996)]),
        shapely.LineString([(9.005, 47.987), (9.015, 47.987)]),
    ]
    return gpd.GeoDataFrame(rows, columns=["level", "name"], geometry=shapes, crs="EPSG:4326")


def test_before_any_photo_an_address_is_as_likely_as_in_training(town: gpd.GeoDataFrame) -> None:
    # Each name counts as if it had one photo more; those of Oak are dealt as North and South have them.
    counted = town.assign(photos=[3, 4, 5, 2])
    expected = [6 / 9 * 4 / 9, 6 / 9 * 5 / 9, 3 / 9]
    assert np.exp(pairs_before(TOWN, counted)) == pytest.approx(expected)
    assert probabilities(pairs_before(TOWN, town.assign(photos=0))) == pytest.approx([0.25, 0.25, 0.5])


def test_a_fix_speaks_for_the_streets_around_it(town: gpd.GeoDataFrame) -> None:
    at_the_border, far_south = LatLon(48.0, 9.01), LatLon(47.987, 9.01)
    north, south, elm = np.exp(pairs_near(TOWN, town, at_the_border, 100.0))
    assert north == pytest.approx(south, rel=0.01)
    assert elm < 0.01
    assert np.exp(pairs_near(TOWN, town, far_south, 100.0))[2] > 0.98
    assert np.exp(pairs_near(TOWN, town, LatLon(48.003, 9.01), 100.0))[0] > 0.95


def test_a_rough_fix_leaves_more_open_than_a_good_one(town: gpd.GeoDataFrame) -> None:
    fix = LatLon(48.0, 9.01)
    elm = [np.exp(pairs_near(TOWN, town, fix, within_m))[2] for within_m in (100.0, 1000.0, 3000.0)]
    assert elm == sorted(elm)
    assert elm[-1] > 0.2


def test_half_the_street_within_the_radius_counts_by_length(town: gpd.GeoDataFrame) -> None:
    prior = np.exp(pairs_near(TOWN, town, LatLon(48.0, 9.01), 1e6))
    lengths = np.array([0.004 * 111_200, 0.004 * 111_200, 0.01 * 111_320 * np.cos(np.radians(48))])
    assert prior == pytest.approx(0.99 * lengths / lengths.sum() + 0.01 / 3, rel=0.01)


def test_a_fix_on_another_continent_is_an_error(town: gpd.GeoDataFrame) -> None:
    with pytest.raises(UsageError, match="anywhere near 10,9"):
        pairs_near(TOWN, town, LatLon(10.0, 9.0), 100.0)


@pytest.mark.parametrize("within_m", [0.0, -5.0, float("nan"), float("inf")])
def test_an_impossible_radius_is_an_error(town: gpd.GeoDataFrame, within_m: float) -> None:
    with pytest.raises(UsageError, match="it must be above 0"):
        pairs_near(TOWN, town, LatLon(48.0, 9.01), within_m)


def test_a_street_of_no_length_has_no_photos(town: gpd.GeoDataFrame) -> None:
    town.loc[3, "geometry"] = shapely.LineString([(9.01, 48.0), (9.01, 48.0)])
    assert np.exp(pairs_near(TOWN, town, LatLon(48.0, 9.01), 100.0))[2] < 0.01
