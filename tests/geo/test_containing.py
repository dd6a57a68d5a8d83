import numpy as np
import pytest
import shapely

from addressvlm.geo.containing import DistrictIndex, _exact


def districts(seed: int) -> np.ndarray:
    """Overlapping, touching and far-off areas, some with holes or in two parts."""
    dice = np.random.default_rng(seed)
    centres = dice.uniform(0, 2000, (12, 2))
    areas = [shapely.Point(x, y).buffer(dice.uniform(30, 500), quad_segs=3) for x, y in centres]
    areas[0] = areas[0].difference(shapely.Point(centres[0]).buffer(25))
    areas[1] = shapely.union(areas[1], shapely.box(2500, 2500, 2600, 2700))
    areas += [shapely.box(0, 0, 300, 300), shapely.box(300, 0, 600, 300)]
    return np.array(areas)


@pytest.mark.parametrize("tolerance_m", [0.0, 50.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_raster_finds_what_testing_every_shape_finds(seed: int, tolerance_m: float) -> None:
    areas = districts(seed)
    x, y = np.random.default_rng(seed).uniform(-300, 3000, (2, 20_000))
    for cells in (40, 2_500, 100_000):
        found = DistrictIndex(areas, tolerance_m, points=cells).find(x, y)
        assert (found == _exact(areas, shapely.points(x, y), tolerance_m)).all()


def test_most_cells_of_a_fine_raster_need_no_further_test() -> None:
    raster = DistrictIndex(districts(0), 50.0, points=250_000)._raster
    assert (raster == -2).mean() < 0.2
    assert len(np.unique(raster)) > 10


def test_points_on_a_border_and_on_a_corner_have_a_district() -> None:
    index = DistrictIndex(
        np.array([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)]), 0.0, points=250_000
    )
    assert index.find(np.array([10.0, 0.0, 20.0, 20.1]), np.array([5.0, 0.0, 10.0, 10.0])).tolist() == [
        0,
        0,
        1,
        -1,
    ]


def test_a_point_in_two_districts_lies_in_the_smaller() -> None:
    index = DistrictIndex(np.array([shapely.box(0, 0, 100, 100), shapely.box(40, 40, 60, 60)]), 5.0)
    assert index.find(np.array([50.0, 10.0]), np.array([50.0, 10.0])).tolist() == [1, 0]
