from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaImageProcessorPil

from addressvlm.errors import UsageError
from addressvlm.model.preprocessing import CLIP_MEAN, Preprocessing


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * height)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


SHAPES = [(64, 48), (48, 64), (51, 33), (28, 28), (20, 90), (640, 480)]
SQUARE = {"height": 28, "width": 28}


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_is_clips(shape: tuple[int, int]) -> None:
    theirs = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=SQUARE)
    assert_same(Preprocessing(28, "crop"), theirs, picture(*shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_pad_is_llavas(shape: tuple[int, int]) -> None:
    theirs = LlavaImageProcessorPil(do_pad=True, size=SQUARE, crop_size=SQUARE)
    assert_same(Preprocessing(28, "pad"), theirs, picture(*shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_squash_is_clips_without_crop(shape: tuple[int, int]) -> None:
    theirs = CLIPImageProcessorPil(size=SQUARE, do_center_crop=False)
    assert_same(Preprocessing(28, "squash"), theirs, picture(*shape))


def assert_same(ours: Preprocessing, theirs: CLIPImageProcessorPil, image: Image.Image) -> None:
    expected = theirs(image, return_tensors="pt")["pixel_values"]
    found = ours.normalise(torch.from_numpy(ours.pixels(image)[None]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
def test_a_square_is_the_same_under_every_fit(fit: str) -> None:
    expected = Preprocessing(28).pixels(picture(50, 50))
    np.testing.assert_array_equal(Preprocessing(28, fit).pixels(picture(50, 50)), expected)  # type: ignore[arg-type]  # a parameter


def test_padding_has_the_mean_colour_above_and_below_a_wide_picture() -> None:
    pixels = Preprocessing(28, "pad").pixels(Image.new("RGB", (56, 28), "white"))
    assert pixels[:, 0, 0].tolist() == [int(channel * 255) for channel in CLIP_MEAN]
    assert pixels[:, 14, 0].tolist() == [255, 255, 255]


def test_grey_pictures_become_three_channels() -> None:
    assert Preprocessing(28).pixels(Image.new("L", (30, 20), 7)).shape == (3, 28, 28)


def test_endless_panorama_takes_no_endless_memory() -> None:
    for fit in ("pad", "crop", "squash"):
        pixels = Preprocessing(28, fit).pixels(Image.new("RGB", (60_000, 2)))  # type: ignore[arg-type]  # a parameter
        assert pixels.shape == (3, 28, 28)


def test_picture_itself_is_left_as_it_was() -> None:
    image = Image.new("RGB", (5000, 10))
    Preprocessing(28).pixels(image)
    assert image.size == (5000, 10)


def test_settings_come_back_from_a_folder(tmp_path: Path) -> None:
    settings = Preprocessing(64, "crop", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    settings.save(tmp_path)
    assert Preprocessing.load(tmp_path) == settings


def test_unknown_fit_is_an_error() -> None:
    with pytest.raises(UsageError, match="pad, crop, squash"):
        Preprocessing(28, "stretch")  # type: ignore[arg-type]  # that is the point
