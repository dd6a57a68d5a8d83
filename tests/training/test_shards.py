import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_train import Killed, contents, uninterrupted
from tiny_photos import tiny_dataset
from train_job import QUICK, stage

from addressvlm.dataset.tables import read_conversations, read_images
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.model.backbone import Backbone, build_backbone, save_backbone
from addressvlm.model.preprocessing import Preprocessing
from addressvlm.training import rowfiles, shards
from addressvlm.training.bases import preprocessing_of, start
from addressvlm.training.batches import Conversations
from addressvlm.training.shards import cut_shards, open_shards, shards_folder
from addressvlm.training.train import train

SMALL = Preprocessing(28)
FEW = 5 * SMALL.size_px**2 * 3  # bytes of five pictures


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dozen photos, five in a shard."""
    monkeypatch.setattr(rowfiles.RowFiles.__init__, "__defaults__", (FEW,))
    return tiny_dataset(tmp_path / "data")


def cut(data: Path, **options: Any) -> Path:
    cut_shards(data, "localization", SMALL, workers=1, **options)
    return shards_folder(data, "localization", SMALL)


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
def test_pictures_of_shards_are_those_that_decoding_gives(fit: Any, data: Path, tiny: Backbone) -> None:
    chosen = replace(tiny, preprocessing=replace(SMALL, fit=fit))
    conversations = read_conversations(data, "localization")
    plain = Conversations(conversations, chosen, seed=0, max_length=500)
    cut_shards(data, "localization", chosen.preprocessing, workers=1)
    found = open_shards(data, "localization", chosen.preprocessing)
    assert found is not None
    shutil.rmtree(data / "images")  # nothing else is read
    with pytest.raises(AddressVLMError, match="does not exist"):
        Conversations(conversations, chosen, seed=0, max_length=500)
    cut_ones = Conversations(conversations, chosen, seed=0, max_length=500, shards=found)
    shutil.copytree(tiny_dataset(data.parent / "again") / "images", data / "images")
    for index in range(12):
        np.testing.assert_array_equal(cut_ones[0, index].pixels, plain[0, index].pixels)


def test_files_of_shards_are_plain_arrays_with_an_index(data: Path) -> None:
    folder = cut(data)
    assert folder == data / "shards" / "localization-28px-pad-7a7468"
    arrays = [np.load(folder / f"{number:05}.npy", allow_pickle=False) for number in range(3)]
    assert [array.shape for array in arrays] == [(5, 3, 28, 28), (5, 3, 28, 28), (2, 3, 28, 28)]
    assert {array.dtype for array in arrays} == {np.dtype(np.uint8)}


def test_training_from_shards_ends_with_the_same_bytes(
    data: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = contents(uninterrupted({}, "full", photos))
    shutil.rmtree(data)
    shutil.copytree(photos, data)
    cut(data)
    shutil.rmtree(data / "images")
    train(stage("full"), data, "tiny", tmp_path / "run")
    assert "pictures come from" in capsys.readouterr().err
    assert contents(tmp_path / "run") == plain


def test_cutting_in_processes_and_alone_gives_the_same_bytes(data: Path) -> None:
    folder = cut(data)
    alone = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    cut_shards(data, "localization", SMALL, workers=2)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == alone


def test_killed_cutting_goes_on_with_what_is_missing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {path.name: path.read_bytes() for path in cut(data).iterdir()}
    folder = shards_folder(data, "localization", SMALL)
    shutil.rmtree(folder)
    decoded, made = shards.decoded, []

    def dies(file: Path, preprocessing: Preprocessing) -> Any:
        if len(made) == 8:  # in the second of three shards
            raise Killed
        made.append(file)
        return decoded(file, preprocessing)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "decoded", dies)
        with pytest.raises(Killed):
            cut(data)
    assert sorted(path.name for path in folder.glob("*.npy")) == ["00000.npy"]
    again: list[Path] = []
    monkeypatch.setattr(shards, "decoded", lambda file, how: (again.append(file), decoded(file, how))[1])
    cut(data)
    assert len(again) == 7
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_unfinished_shards_are_passed_over_with_a_warning(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cut(data) / "summary.json").unlink()
    assert open_shards(data, "localization", SMALL) is None
    assert "unfinished, so pictures are decoded" in capsys.readouterr().err


def test_shards_of_another_data_set_are_passed_over_with_a_warning(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(data)
    other = tiny_dataset(tmp_path / "other", photos=9)
    shutil.copytree(data / "shards", other / "shards")
    assert open_shards(other, "localization", SMALL) is None
    assert "is of another data set, so pictures are decoded" in capsys.readouterr().err
    with pytest.raises(UsageError, match="made with another config"):
        cut(other)


def test_other_pictures_than_a_tower_wants_are_never_used(data: Path) -> None:
    cut(data)
    wanted = (
        (data, "localization", replace(SMALL, fit="crop")),
        (data, "localization", replace(SMALL, mean=(0.5, 0.5, 0.5))),
        (data, "localization", replace(SMALL, size_px=14)),
        (data, "alignment", SMALL),
    )
    assert [open_shards(*one) for one in wanted] == [None] * 4
    assert open_shards(data, "localization", SMALL) is not None


def test_torn_shard_is_refused_and_made_again(data: Path) -> None:
    folder = cut(data)
    whole = (folder / "00001.npy").read_bytes()
    (folder / "00001.npy").write_bytes(whole[:-1])
    with pytest.raises(AddressVLMError, match=r"00001\.npy is torn or missing; `addressvlm dataset shards`"):
        open_shards(data, "localization", SMALL)
    cut(data)
    assert (folder / "00001.npy").read_bytes() == whole


def test_flipped_bit_is_found_when_it_is_read_and_mended(data: Path) -> None:
    folder = cut(data)
    whole = (folder / "00002.npy").read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    (folder / "00002.npy").write_bytes(flipped)
    found = open_shards(data, "localization", SMALL)
    assert found is not None
    files = [data.absolute() / name for name in read_images(data, "localization")]
    found.pixels(files[10])
    with pytest.raises(AddressVLMError, match=r"p11\.png is damaged in .*00002\.npy"):
        found.pixels(files[11])
    cut(data)
    assert (folder / "00002.npy").read_bytes() == whole


def test_damaged_index_is_refused_and_made_again(data: Path) -> None:
    index = cut(data) / "index.parquet"
    whole = index.read_bytes()
    index.write_bytes(whole[:-5])
    with pytest.raises(AddressVLMError, match=r"index\.parquet is damaged"):
        open_shards(data, "localization", SMALL)
    cut(data)
    assert index.read_bytes() == whole


def test_complete_shards_are_left_as_they_are(data: Path) -> None:
    folder = cut(data)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"}
    summary = cut_shards(data, "localization", SMALL, workers=1)
    assert (summary["pictures"], summary["files"], summary["bytes"]) == (12, 3, 12 * 3 * 28 * 28)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"} == before


def test_too_small_a_disk_is_refused_before_anything_is_cut(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(data)._replace(free=12 * 3 * 28 * 28 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(AddressVLMError, match=r"needs 0\.00 GB, but 0\.00 GB are free"):
        cut(data)
    assert not list(data.rglob("*.npy"))


def test_broken_picture_stops_the_cutting_and_is_named(data: Path) -> None:
    (data / "images" / "photos" / "p03.png").write_bytes(b"torn")
    with pytest.raises(AddressVLMError, match=r"p03\.png cannot be read"):
        cut(data)


def test_preprocessing_of_a_base_is_that_of_its_training(data: Path, tmp_path: Path) -> None:
    assert preprocessing_of("tiny") == build_backbone("tiny", seed=0).preprocessing
    save_backbone(build_backbone("tiny", seed=0), tmp_path / "base")
    assert preprocessing_of(str(tmp_path / "base"), "crop") == replace(SMALL, fit="crop")
    (tmp_path / "base" / "preprocessing.json").unlink()
    assert preprocessing_of(str(tmp_path / "base")).size_px == 28


def test_fit_of_an_earlier_run_is_kept_by_the_next(data: Path, tmp_path: Path) -> None:
    first = replace(QUICK, name="alignment", max_steps=1, image_fit="crop")
    train(first, data, "tiny", tmp_path / "one")
    backbone, _ = start(str(tmp_path / "one"), QUICK, tmp_path / "two")
    assert backbone.preprocessing == preprocessing_of(str(tmp_path / "one")) == replace(SMALL, fit="crop")
