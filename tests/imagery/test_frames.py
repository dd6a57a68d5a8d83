import math

import mercantile
import numpy as np
import pytest

from addressvlm.errors import UsageError
from addressvlm.geo.places import LatLon
from addressvlm.imagery.frames import Frame


def test_the_centre_is_the_middle_and_the_bounds_are_the_corners(frame: Frame):
    bounds = frame.bounds
    x, y = frame.to_pixels([48.77, bounds.north, bounds.south], [9.17, bounds.west, bounds.east])
    np.testing.assert_allclose(x, [150, 0, 300], atol=0.01)
    np.testing.assert_allclose(y, [150, 0, 300], atol=0.01)


def test_a_metre_is_as_many_pixels_in_every_direction():
    frame = Frame(LatLon(48.77, 9.17), 200, 400)
    north, east = 100 / 111_200, 100 / (111_320 * math.cos(math.radians(48.77)))
    x, y = frame.to_pixels([48.77 + north, 48.77], [9.17, 9.17 + east])
    np.testing.assert_allclose([x[0], y[0]], [200, 0], atol=1)
    np.testing.assert_allclose([x[1], y[1]], [400, 200], atol=1)


@pytest.mark.parametrize(("side_m", "size_px"), [(300, 336), (2000, 336), (1000, 1000)])
@pytest.mark.parametrize("lat", [-33.9, 1.3, 48.77, 64.1])
def test_web_mercator_is_as_near_as_the_docstring_says(lat: float, side_m: float, size_px: int):
    frame = Frame(LatLon(lat, 9.17), side_m, size_px)
    box = frame.bounds
    lats, lons = np.meshgrid(np.linspace(box.south, box.north, 9), np.linspace(box.west, box.east, 9))
    x, y = frame.to_pixels(lats, lons)
    west, north = mercantile.xy(box.west, box.north)
    east, south = mercantile.xy(box.east, box.south)
    plane = np.array(
        [
            [mercantile.xy(lon, lat) for lat, lon in zip(*row, strict=True)]
            for row in zip(lats, lons, strict=True)
        ]
    )
    error = np.hypot(
        x - (plane[..., 0] - west) / (east - west) * size_px,
        y - (north - plane[..., 1]) / (north - south) * size_px,
    )
    assert error.max() <= side_m * size_px * abs(math.tan(math.radians(lat))) / 1.27e7 + 1e-4


@pytest.mark.parametrize(("side_m", "size_px"), [(0, 336), (-1, 336), (300, 0), (float("nan"), 336)])
def test_a_frame_without_ground_or_pixels_is_refused(side_m: float, size_px: int):
    with pytest.raises(UsageError, match="both must be above 0"):
        Frame(LatLon(48.77, 9.17), side_m, size_px)
