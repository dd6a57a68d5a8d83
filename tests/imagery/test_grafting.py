import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from addressvlm.errors import UsageError
from addressvlm.imagery.grafting import graft, graft_box, pair, stitch


def white(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


def black(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "black")


def dark_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    return image.convert("L").point(lambda level: 255 if level < 128 else 0).getbbox()


def test_graft_keeps_the_shape_of_the_photo():
    grafted = graft(white(336, 336), black(400, 300), delta=0.5)
    assert dark_box(grafted) == (168, 0, 336, 126)


@pytest.mark.parametrize(
    ("photo", "delta", "size"),
    [
        ((640, 480), 0.5, (168, 126)),  # Pitts
        ((512, 512), 0.5, (168, 168)),  # SF
        ((480, 640), 0.5, (126, 168)),
        ((640, 480), 0.3, (101, 76)),  # 100.8 x 75.6
        ((640, 480), 0.7, (235, 176)),  # 235.2 x 176.4
        ((640, 480), 1, (336, 252)),
        ((1000, 1), 0.5, (168, 1)),
    ],
)
def test_the_longer_side_is_delta_of_the_map(photo: tuple[int, int], delta: float, size: tuple[int, int]):
    assert graft_box(336, photo, delta) == (336 - size[0], 0, 336, size[1])


def test_halves_round_up():
    assert graft_box(5, (10, 5), 0.5) == (2, 0, 5, 1)  # 2.5 x 1.25


@given(
    size_px=st.integers(1, 700),
    photo=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    delta=st.floats(0, 1, exclude_min=True),
)
def test_the_photo_fits_on_the_map_in_its_upper_right_corner(
    size_px: int, photo: tuple[int, int], delta: float
):
    left, top, right, bottom = graft_box(size_px, photo, delta)
    assert (top, right) == (0, size_px)
    assert 0 <= left < right
    assert 0 < bottom <= size_px
    assert abs(max(right - left, bottom) - delta * size_px) <= max(0.5, 1 - delta * size_px) + 1e-9


@pytest.mark.parametrize("delta", [0, -0.5, 1.01, float("nan"), float("inf")])
def test_a_delta_outside_its_range_is_named(delta: float):
    with pytest.raises(UsageError, match=rf"delta is {delta}.*\(0, 1\]"):
        graft(white(336, 336), black(4, 3), delta)


def test_a_map_that_is_not_square_is_refused():
    for join in (graft, stitch):
        with pytest.raises(UsageError, match="300 x 200"):
            join(white(300, 200), black(4, 3))


def test_the_inputs_stay_as_they_were():
    satellite, street_view = white(100, 100), black(40, 30)
    for image in (
        graft(satellite, street_view),
        stitch(satellite, street_view),
        *pair(satellite, street_view),
    ):
        image.paste("red", (0, 0, *image.size))
    assert satellite.getcolors() == [(10_000, (255, 255, 255))]
    assert street_view.getcolors() == [(1200, (0, 0, 0))]


def test_a_stitched_picture_is_square_with_the_map_left_and_the_photo_right():
    stitched = stitch(Image.new("RGB", (336, 336), "green"), black(400, 300), fill=(122, 116, 104))
    assert stitched.size == (336, 336)
    pixels = np.asarray(stitched)
    assert (pixels[84:252, :168] == (0, 128, 0)).all()
    assert (pixels[105:231, 168:] == 0).all()
    assert (pixels[:84] == (122, 116, 104)).all()
    assert (pixels[252:] == (122, 116, 104)).all()
    assert (pixels[84:105, 168:] == (122, 116, 104)).all()


def test_a_pair_is_both_pictures_as_they_are():
    satellite, street_view = pair(white(100, 100), black(40, 30))
    assert (satellite.size, street_view.size) == ((100, 100), (40, 30))


@pytest.mark.parametrize("size", [(767, 511), (768, 509), (511, 767), (4031, 3023)])
def test_a_photo_made_smaller_before_is_grafted_where_the_whole_one_would_be(size: tuple[int, int]):
    smaller = black(-(-size[0] // 2), -(-size[1] // 2))
    whole = graft(white(336, 336), black(*size))
    assert dark_box(graft(white(336, 336), smaller, photo_size=size)) == dark_box(whole)
