import numpy as np
import pytest
import shapely

from addressvlm.geo import nearest
from addressvlm.geo.nearest import StreetIndex


def streets(seed: int) -> np.ndarray:
    dice = np.random.default_rng(seed)
    return np.array(
        [
            shapely.MultiLineString(
                [dice.uniform(0, 1000, (4, 2)).tolist(), dice.uniform(0, 1000, (2, 2)).tolist()]
            )
            for _ in range(40)
        ]
    )


@pytest.mark.parametrize("cells", [40_000_000, 100, 1])
def test_the_grid_finds_what_measuring_every_street_finds(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_CELLS", cells)
    lines, radius_m = streets(0), 30.0
    x, y = np.random.default_rng(1).uniform(-50, 1050, (2, 3000))
    first, first_m, second, second_m = StreetIndex(lines, radius_m).nearest_two(x, y)
    exact = shapely.distance(shapely.points(x, y)[:, None], lines[None])
    metres = np.where(exact <= radius_m, exact.round(2), np.inf)
    order = np.argsort(metres, axis=1, kind="stable")[:, :2]
    expected_m = np.take_along_axis(metres, order, axis=1)
    for number, (found, found_m) in enumerate(((first, first_m), (second, second_m))):
        there = np.isfinite(expected_m[:, number])
        assert there.sum() > 0
        assert (found == np.where(there, order[:, number], -1)).all()
        assert np.allclose(found_m, np.where(there, expected_m[:, number], np.nan), equal_nan=True)


def test_exactly_the_radius_away_is_near_enough() -> None:
    index = StreetIndex(np.array([shapely.LineString([(0, 0), (10, 0)])]), 30.0)
    found, metres, _, _ = index.nearest_two(np.array([5.0, 5.0, -30.0]), np.array([30.0, 30.001, 0.0]))
    assert found.tolist() == [0, -1, 0]
    assert metres[[0, 2]].tolist() == [30.0, 30.0]


def test_a_street_of_no_length_is_a_point() -> None:
    lines = np.array([shapely.LineString([(3, 4), (3, 4)]), shapely.LineString([(0, 50), (9, 50)])])
    assert StreetIndex(lines, 30.0).nearest_two(np.array([0.0]), np.array([0.0]))[1].tolist() == [5.0]


def test_points_far_away_and_not_at_all_have_no_street() -> None:
    index = StreetIndex(np.array([shapely.LineString([(0, 0), (10, 0)])]), 30.0)
    found, metres, other, other_m = index.nearest_two(np.array([1e9, -1e9]), np.array([0.0, 0.0]))
    assert found.tolist() == other.tolist() == [-1, -1]
    assert np.isnan(metres).all()
    assert np.isnan(other_m).all()
    assert [len(part) for part in index.nearest_two(np.zeros(0), np.zeros(0))] == [0] * 4
