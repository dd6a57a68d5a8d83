"""What goes wrong on real machines: a full disk, a folder that cannot be written, a signal."""

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from train_job import stage

from addressvlm.errors import AddressVLMError, InterruptedJob
from addressvlm.model.checkpoints import checkpoints
from addressvlm.training import trainer
from addressvlm.training.log import append_log
from addressvlm.training.train import train


@contextmanager
def full_disk(bytes_left: int) -> Iterator[None]:
    """No file can grow beyond this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("written_by", ["safetensors", "torch"])
def test_full_disk_at_a_checkpoint_says_so_and_leaves_no_torn_one(
    written_by: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    save = trainer._RunTrainer._save_checkpoint

    def saved(self: Any, *arguments: Any) -> None:
        if self.state.global_step < 4:
            save(self, *arguments)
            return
        if written_by == "torch":
            patch.setattr(trainer, "save_file", lambda weights, path: Path(path).touch())
        with full_disk(4096):
            save(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer._RunTrainer, "_save_checkpoint", saved)
        with pytest.raises(AddressVLMError, match=r"cannot write .*checkpoint-4"):
            train(stage("full"), photos, "tiny", run)
    assert [path.name for path in checkpoints(run / "checkpoints")] == ["checkpoint-2"]
    assert not list((run / "checkpoints").glob(".staging*"))
    assert train(stage("full"), photos, "tiny", run)["steps"] == 15


def test_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with full_disk(0), pytest.raises(AddressVLMError, match=r"cannot write .*log\.jsonl"):
        append_log(tmp_path, {"step": 1})


def test_folder_that_cannot_be_written_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AddressVLMError, match=r"cannot write to .*file/run"):
        train(stage("full"), photos, "tiny", tmp_path / "file" / "run")


def test_other_mistakes_are_not_taken_for_a_full_disk(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(trainer, "save_file", fail)
    with pytest.raises(RuntimeError, match="something else"):
        train(stage("full"), photos, "tiny", tmp_path / "run")


def test_checkpoint_after_a_signal_is_there_within_seconds(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    clip = trainer._RunTrainer._clip_grad_norm

    def signalled(self: Any, model: Any) -> torch.Tensor:
        if self.state.global_step == 0:
            asked.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)
        return clip(self, model)

    monkeypatch.setattr(trainer._RunTrainer, "_clip_grad_norm", signalled)
    with pytest.raises(InterruptedJob):
        train(replace(stage("full"), save_steps=100), photos, "tiny", tmp_path / "run")
    assert time.monotonic() - asked[0] < 10
    assert [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")] == ["checkpoint-1"]
