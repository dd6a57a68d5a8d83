"""Two processes on this machine train as one would."""

import multiprocessing
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import together_job
import torch
from safetensors.torch import load_file

from addressvlm.errors import UsageError
from addressvlm.training.log import read_log
from addressvlm.training.train import train

pytestmark = pytest.mark.slow


def run(processes: int, out: Path, data: Path, options: Any, dies_at: int | None = None) -> list[int]:
    """Exit codes of the processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["together_job"])
    jobs = [
        context.Process(target=together_job.run, args=(rank, processes, port, out, data, dies_at, options))
        for rank in range(processes)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(200)
    return [job.exitcode for job in jobs]


def test_two_processes_train_as_one_and_resume(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # else what is to be preloaded is not found
    alone, two, killed = (tmp_path / name for name in ("alone", "two", "killed"))
    train(together_job.stage(1), photos, "tiny", alone)
    together = together_job.stage(2)
    assert run(2, two, photos, together) == [0, 0]
    weights, others = (load_file(run / "model" / "model.safetensors") for run in (alone, two))
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-5)
    for one, other in zip(read_log(alone), read_log(two), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)

    assert run(2, killed, photos, together, dies_at=4) == [9, 9]
    once_more = tmp_path / "by-one"
    shutil.copytree(killed, once_more)
    assert run(2, killed, photos, together) == [0, 0]
    assert (killed / "model" / "model.safetensors").read_bytes() == (
        two / "model" / "model.safetensors"
    ).read_bytes()

    summary = train(together, photos, "tiny", once_more)  # one process, from what two have written
    assert summary["steps"] == 12
    assert "checkpoint-2 was written by 2 processes, now there are 1" in capsys.readouterr().err


def test_two_processes_share_the_work_of_a_frozen_tower(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    frozen = {"trains": ("projector", "language"), "logging_steps": 1}
    assert run(2, tmp_path / "two", photos, together_job.stage(2, **frozen)) == [0, 0]
    assert not (tmp_path / "two" / "features").exists()
    train(together_job.stage(1, **frozen), photos, "tiny", tmp_path / "alone")
    for one, other in zip(read_log(tmp_path / "alone"), read_log(tmp_path / "two"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)


def test_sharding_is_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="accelerate launch --multi_gpu"):
        train(together_job.stage(2), photos, "tiny", tmp_path / "run")
