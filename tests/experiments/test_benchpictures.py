from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addressvlm.cities.city import load_city
from addressvlm.experiments.benchpictures import bench_pictures, publish_bench_pictures


@pytest.mark.slow
def test_both_ways_make_the_same_pictures(tmp_path: Path, ready_city: Callable[..., None]) -> None:
    ready_city("mini:3", tmp_path / "city", locations=15, views=2, workers=1)
    for number, file in enumerate(load_city(tmp_path / "city").photos["file"]):
        noise = np.random.default_rng(number).integers(0, 255, (6, 9, 3), np.uint8)
        Image.fromarray(noise).resize((767, 511)).save(tmp_path / "city" / file)
    result = bench_pictures(tmp_path / "city", photos=6, image_px=112, rounds=1)
    assert result["photos"] == 6
    assert result["photo_sizes"] == ["767x511"]
    assert result["same_geometry"]
    assert result["photos_of_other_size"] == 0
    assert result["mean_difference"] < 2
    training = result["training"]
    assert training["pictures"] == 12  # street view and grafted picture of each
    assert training["same_pixels"]
    assert training["faster"] == pytest.approx(
        training["pictures_a_second"]["shards"] / training["pictures_a_second"]["plain"]
    )
    publish_bench_pictures(result, tmp_path / "results", "a test")
    page = (tmp_path / "results" / "bench-pictures.md").read_text("utf-8")
    assert "geometry the same" in page
    assert "pixels the same" in page
