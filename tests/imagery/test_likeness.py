import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from addressvlm.imagery.likeness import BITS, likeness
from addressvlm.imagery.opening import open_image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mapillary_florianopolis" / "images"


def scene(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Forty boxes of any colour."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size)
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = rng.random(2) * size
        draw.rectangle((x, y, x + 200 * rng.random(), y + 200 * rng.random()), tuple(rng.integers(0, 256, 3)))
    return image


def apart(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


def again(image: Image.Image, scale: float, quality: int) -> Image.Image:
    """The picture scaled and compressed."""
    small = image.resize((round(image.width * scale), round(image.height * scale)))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


@pytest.mark.parametrize("seed", range(5))
def test_scaled_and_compressed_a_picture_looks_the_same(seed: int) -> None:
    assert apart(likeness(scene(seed)), likeness(again(scene(seed), 0.5, 40))) <= 12


def test_different_pictures_differ_in_many_bits() -> None:
    looks = [likeness(scene(seed)) for seed in range(12)]
    assert min(apart(a, b) for a in looks for b in looks if a < b) > BITS / 4


def test_a_picture_without_structure_has_no_likeness() -> None:
    noise = np.random.default_rng(0).integers(118, 124, (480, 640, 3), np.uint8)
    assert likeness(Image.new("RGB", (640, 480), "white")) == ""
    assert likeness(Image.fromarray(noise)) == ""


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")
def test_photos_of_one_real_drive_are_told_from_each_other_and_from_copies() -> None:
    photos = [open_image(path).resize((768, 432)) for path in sorted(SHARED.glob("*.jpg"))]
    looks = [likeness(photo) for photo in photos]
    assert min(apart(a, b) for a in looks for b in looks if a < b) > 24
    assert max(apart(a, likeness(again(p, 0.5, 60))) for a, p in zip(looks, photos, strict=True)) <= 12
