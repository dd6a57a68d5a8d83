import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addressvlm.imagery.panorama import cut_view, panorama_pixels, read_panorama_header

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "stuttgart_streetscapes"


@lru_cache
def sphere(width: int = 1440) -> np.ndarray:
    """A panorama whose colours are directions: (east, north, up), each from -1 to 1 as 0 to 255."""
    lon = np.radians(((np.arange(width) + 0.5) / width - 0.5) * 360)
    lat = np.radians((0.5 - (np.arange(width // 2) + 0.5) / (width // 2)) * 180)
    lon, lat = np.meshgrid(lon, lat)
    parts = (np.sin(lon) * np.cos(lat), np.cos(lon) * np.cos(lat), np.sin(lat))
    return np.round((np.stack(parts, -1) + 1) * 127.5).astype(np.uint8)


def direction(view: Image.Image, x: float, y: float) -> np.ndarray:
    """Where the pixel at a share of the width and of the height looks."""
    pixel = view.getpixel(
        (min(int(x * view.width), view.width - 1), min(int(y * view.height), view.height - 1))
    )
    vector = np.array(pixel) / 127.5 - 1
    return vector / np.linalg.norm(vector)


def towards(right_deg: float, up_deg: float) -> np.ndarray:
    lon, lat = math.radians(right_deg), math.radians(up_deg)
    return np.array([math.sin(lon) * math.cos(lat), math.cos(lon) * math.cos(lat), math.sin(lat)])


def apart_deg(a: np.ndarray, b: np.ndarray) -> float:
    return math.degrees(math.acos(min(1, float(a @ b))))


@pytest.mark.parametrize("yaw_deg", [0, 45, 90, 135, 180, 225, 270, 315, 359.5, -30])
@pytest.mark.parametrize("pitch_deg", [0, 20, -35, 90])
def test_the_middle_of_a_view_looks_where_it_should(yaw_deg: float, pitch_deg: float) -> None:
    view = cut_view(sphere(), yaw_deg, pitch_deg=pitch_deg, view_px=201)
    assert apart_deg(direction(view, 0.5, 0.5), towards(yaw_deg, pitch_deg)) < 1


def test_the_edges_of_a_view_are_half_the_angle_away() -> None:
    view = cut_view(sphere(), 30, fov_deg=80, view_px=401)
    assert apart_deg(direction(view, 0, 0.5), towards(30 - 40, 0)) < 1
    assert apart_deg(direction(view, 1, 0.5), towards(30 + 40, 0)) < 1
    assert apart_deg(direction(view, 0.5, 0), towards(30, 40)) < 1
    assert apart_deg(direction(view, 0.5, 1), towards(30, -40)) < 1


def test_a_view_is_a_perspective() -> None:
    # Half way to the right edge (tan = 0.5 at 90 degrees) it looks 26.57 degrees to the right.
    view = cut_view(sphere(), 0, fov_deg=90, view_px=401)
    assert apart_deg(direction(view, 0.75, 0.5), towards(26.57, 0)) < 1
    # A corner of the cube: 45 degrees to the right, and up by atan(1 / sqrt 2).
    assert apart_deg(direction(view, 1, 0), towards(45, 35.26)) < 1


def test_neighbouring_views_meet_at_their_edges() -> None:
    views = [cut_view(sphere(), 90 * number, fov_deg=90, view_px=200) for number in range(4)]
    for here, there in zip(views, views[1:] + views[:1], strict=True):
        right, left = np.asarray(here)[:, -1].astype(int), np.asarray(there)[:, 0].astype(int)
        assert abs(right - left).max() <= 2


@pytest.mark.parametrize("view_px", [64, 600])
def test_there_is_no_seam_at_the_back(view_px: int) -> None:
    # Noise that is smooth on the sphere: the view over the seam changes no more than any other.
    view = np.asarray(cut_view(panorama_pixels(Image.fromarray(sphere()), 90, view_px), 180, view_px=view_px))
    ahead = np.asarray(cut_view(panorama_pixels(Image.fromarray(sphere()), 90, view_px), 0, view_px=view_px))
    steps, usual = (abs(np.diff(pixels.astype(int), axis=1)).max() for pixels in (view, ahead))
    assert steps <= usual + 1


def test_turning_the_panorama_turns_the_views() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (180, 360, 3), np.uint8)
    turned = np.roll(pixels, -90, axis=1)
    a, b = cut_view(pixels, 90, view_px=100), cut_view(turned, 0, view_px=100)
    assert abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def test_a_view_is_no_larger_than_its_pixels() -> None:
    # 1440 columns are 229 a radian; a view of 90 degrees is twice that wide.
    assert cut_view(sphere(), 0, fov_deg=90, view_px=2000).size == (458, 458)
    assert cut_view(sphere(), 0, fov_deg=90, view_px=300).size == (300, 300)


def test_a_large_panorama_is_made_smaller_first_and_its_ends_still_meet() -> None:
    pixels = panorama_pixels(Image.fromarray(sphere(2000)), 90, 100)
    assert pixels.shape == (157, 314, 3)
    assert abs(pixels[:, 0].astype(int) - pixels[:, -1]).max() <= 4
    assert panorama_pixels(Image.fromarray(sphere(200)), 90, 100).shape == (100, 200, 3)


@pytest.mark.parametrize(
    ("xmp", "projection", "heading_deg"),
    [
        ('GPano:ProjectionType="equirectangular" GPano:PoseHeadingDegrees="350.5"', "equirectangular", 350.5),
        (
            "<GPano:ProjectionType>Equirectangular</GPano:ProjectionType>"
            "<GPano:PoseHeadingDegrees> 361 </GPano:PoseHeadingDegrees>",
            "equirectangular",
            1.0,
        ),
        ("GPano:PoseHeadingDegrees='north'", None, None),
        ('GPano:PoseHeadingDegrees="nan"', None, None),
        ('GPano:PoseHeadingDegrees=""', None, None),
        ("", None, None),
    ],
)
def test_xmp_tells_projection_and_heading(
    tmp_path: Path, xmp: str, projection: str | None, heading_deg: float | None
) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", xmp=f"<x>{xmp}</x>".encode())
    header = read_panorama_header(tmp_path / "a.jpg")
    assert (header.projection, header.heading_deg) == (projection, heading_deg)
    assert header.whole_sphere


def test_a_photo_is_no_whole_sphere(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    assert not read_panorama_header(tmp_path / "a.jpg").whole_sphere


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")
def test_a_real_panorama_tells_its_heading() -> None:
    header = read_panorama_header(SHARED.parent / "exif_samples" / "adobe_coords.jpg")
    assert (header.projection, header.heading_deg) == ("equirectangular", 176.3)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")
def test_views_of_real_panoramas_equal_those_cut_by_others() -> None:
    # Cut by the keepers of the sample at 70 degrees, looking 4 degrees up, 384 pixels wide.
    for path in sorted((SHARED / "views").glob("06129dab*_yaw???.jpg"))[::3]:
        with Image.open(path) as theirs, Image.open(SHARED / "photos" / "stuttgart" / _of(path)) as whole:
            pixels = panorama_pixels(whole, 70, 384)
            ours = cut_view(pixels, int(path.stem[-3:]), pitch_deg=4, fov_deg=70, view_px=theirs.width)
            assert abs(np.asarray(ours).astype(int) - np.asarray(theirs)).mean() < 4


def _of(view: Path) -> str:
    return view.name.split("_yaw")[0] + ".jpg"
