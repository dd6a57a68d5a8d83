"""The controls of the alignment stage: what the pictures lack, with the same texts beside them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from addressvlm.dataset.build import build_dataset
from addressvlm.errors import UsageError

CONTROLS = ("none", "unnamed", "blank", "elsewhere", "view", "shuffled", "aside")


@pytest.fixture(scope="module")
def built(town: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for control in CONTROLS:
        folders[control] = tmp_path_factory.mktemp("controls") / control
        build_dataset(town, folders[control], image_px=112, control=control, workers=1)
    return folders


def samples(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "alignment.parquet").set_index("photo")


def pixels(folder: Path, file: str) -> npt.NDArray[np.int64]:
    with Image.open(folder / file) as image:
        return np.asarray(image.convert("RGB"), np.int64)


@pytest.mark.parametrize("control", ["unnamed", "blank", "elsewhere", "view"])
def test_the_texts_stay(built: dict[str, Path], control: str) -> None:
    columns = ["location", "question", "answer", "district", "street"]
    pd.testing.assert_frame_equal(samples(built[control])[columns], samples(built["none"])[columns])


@pytest.mark.parametrize("control", ["unnamed", "blank", "elsewhere"])
def test_the_map_changes_and_the_photo_on_it_stays(built: dict[str, Path], control: str) -> None:
    files = samples(built["none"])["images"].map(lambda images: images[0])
    true, spoilt = (np.stack([pixels(built[name], file) for file in files]) for name in ("none", control))
    photo = (slice(None), slice(2, 40), slice(60, 110))
    assert np.abs(true[photo] - spoilt[photo]).mean() < 3
    assert (np.abs(true - spoilt).max(axis=(1, 2, 3)) > 60).all()


def test_a_blank_map_is_grey(built: dict[str, Path]) -> None:
    file = samples(built["blank"])["images"].iloc[0][0]
    assert np.abs(pixels(built["blank"], file)[60:] - 127).max() <= 2


def test_a_map_from_elsewhere_is_that_of_another_training_place(built: dict[str, Path]) -> None:
    table = samples(built["elsewhere"])
    maps = {location: pixels(built["none"], f"images/maps/{location}.jpg") for location in table["location"]}
    for location, images in zip(table["location"], table["images"], strict=True):
        shown = pixels(built["elsewhere"], images[0])[60:]
        near = min(maps, key=lambda other: float(np.abs(maps[other][60:] - shown).mean()))
        assert near != location


def test_the_street_view_alone_is_its_photo(built: dict[str, Path]) -> None:
    table = samples(built["view"])
    assert [list(images) for images in table["images"]] == [[f"images/photos/{p}.jpg"] for p in table.index]


def test_shuffled_texts_are_the_same_ones_of_other_photos(built: dict[str, Path]) -> None:
    true, mixed = samples(built["none"]), samples(built["shuffled"])
    assert sorted(true["answer"]) == sorted(mixed["answer"])
    assert (true["answer"] != mixed["answer"]).mean() > 0.8
    assert (true["street"] == mixed["street"]).all()


def test_of_a_photo_that_lies_aside_nothing_is_said_about_the_centre(built: dict[str, Path]) -> None:
    columns = ["location", "question", "district", "street"]
    true, aside = samples(built["none"]), samples(built["aside"])
    pd.testing.assert_frame_equal(aside[columns], true[columns])
    assert true["answer"].str.contains("centre").all()
    assert not aside["answer"].str.contains("centre").any()
    for text, street in zip(aside["answer"], aside["street"], strict=True):
        assert text.count(street) >= 2


def test_stage_two_is_the_same_for_all(built: dict[str, Path]) -> None:
    for table in ("train", "val", "test"):
        assert len({(folder / f"{table}.parquet").read_bytes() for folder in built.values()}) == 1


def test_a_control_needs_grafts(town: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it needs variant = graft"):
        build_dataset(town, tmp_path / "data", variant="pair", control="blank")


def test_a_photo_aside_must_leave_room_on_the_map(town: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="delta is 0.9, but control = aside needs room"):
        build_dataset(town, tmp_path / "data", delta=0.9, control="aside")
