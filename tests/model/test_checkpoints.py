import json
import shutil
from pathlib import Path

import pytest

from addressvlm.errors import AddressVLMError
from addressvlm.model.checkpoints import checkpoints, newest_checkpoint, publish, verify


def make(folder: Path, text: str = "weights") -> Path:
    with publish(folder) as staging:
        (staging / "weights.safetensors").write_text(text)
        (staging / "state").mkdir()
        (staging / "state" / "optimizer.pt").write_text("moments")
    return folder


def test_published_folder_verifies(tmp_path: Path) -> None:
    verify(make(tmp_path / "checkpoint-1"))


def test_failed_writer_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with publish(tmp_path / "checkpoint-1") as staging:
            (staging / "weights.safetensors").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="checkpoint-1"), publish(tmp_path / "checkpoint-1"):
        raise OSError(28, "No space left on device")


def test_publishing_again_replaces(tmp_path: Path) -> None:
    make(tmp_path / "model", "old")
    make(tmp_path / "model", "new")
    assert (tmp_path / "model" / "weights.safetensors").read_text() == "new"


@pytest.mark.parametrize("file", ["weights.safetensors", "state/optimizer.pt", "manifest.json"])
def test_every_flipped_byte_is_found(tmp_path: Path, file: str) -> None:
    folder = make(tmp_path / "checkpoint-1")
    whole = (folder / file).read_bytes()
    for position in range(len(whole)):
        torn = bytearray(whole)
        torn[position] ^= 1
        (folder / file).write_bytes(torn)
        with pytest.raises(AddressVLMError):
            verify(folder)


def test_missing_and_additional_files_are_found(tmp_path: Path) -> None:
    folder = make(tmp_path / "checkpoint-1")
    (folder / "state" / "optimizer.pt").rename(folder / "other.pt")
    with pytest.raises(AddressVLMError, match=r"other\.pt, state/optimizer\.pt"):
        verify(folder)


def test_manifest_that_is_none_is_an_error(tmp_path: Path) -> None:
    folder = make(tmp_path / "checkpoint-1")
    (folder / "manifest.json").write_text(json.dumps([1]))
    with pytest.raises(AddressVLMError, match="is no manifest"):
        verify(folder)


def test_checkpoints_come_in_order_of_their_steps(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        make(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-old").mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint-9",
        "checkpoint-20",
        "checkpoint-100",
    ]


def test_torn_checkpoint_is_skipped_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, torn = make(tmp_path / "checkpoint-1"), make(tmp_path / "checkpoint-2")
    (torn / "weights.safetensors").write_text("weigh")
    assert newest_checkpoint(tmp_path) == good
    (line,) = capsys.readouterr().err.splitlines()
    assert "skipped" in line
    assert "checkpoint-2" in line


def test_checkpoint_that_lacks_a_needed_file_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "checkpoint-1")
    assert newest_checkpoint(tmp_path, needs=["rng_state.pth"]) is None
    assert "lacks rng_state.pth" in capsys.readouterr().err


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_staging_of_a_killed_writer_is_no_checkpoint_and_is_cleared(tmp_path: Path) -> None:
    staging = tmp_path / ".staging-checkpoint-3"
    shutil.copytree(make(tmp_path / "checkpoint-1"), staging)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1"]
    make(tmp_path / "checkpoint-3")
    assert not staging.exists()
