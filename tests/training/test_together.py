"""Two processes on this machine train as one would."""

import multiprocessing
import os
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import together_job
import torch
from safetensors.torch import load_file
from together_job import ADAPTERS, WHOLE
from train_job import TINY

from addressvlm.errors import UsageError
from addressvlm.model import presets
from addressvlm.training.log import read_log
from addressvlm.training.train import train

pytestmark = pytest.mark.slow


MODEL, ADAPTER = "model/model.safetensors", "adapter/adapter_model.safetensors"
SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}  # `--use_fsdp`


def run(
    processes: int, out: Path, data: Path, options: Any, *, dies_at: int | None = None, **environment: str
) -> list[int]:
    """Exit codes of the processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["together_job"])
    jobs = [
        context.Process(
            target=together_job.run,
            args=(rank, processes, port, out, data, dies_at, options, environment),
        )
        for rank in range(processes)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(200)
    return [job.exitcode for job in jobs]


def assert_alike(run: Path, other: Path, weights: str) -> None:
    """Same losses and weights, but for the order of sums; same files."""
    for one, its in zip(read_log(run), read_log(other), strict=True):
        assert its["loss"] == pytest.approx(one["loss"], rel=1e-4)
    ours, theirs = (load_file(folder / weights) for folder in (run, other))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        if not name.endswith("k_proj.bias"):  # no score depends on it, so it learns rounding errors
            torch.testing.assert_close(theirs[name], weight, rtol=1e-3, atol=1e-5)
    files, others = (
        sorted(path.relative_to(folder) for path in folder.rglob("*")) for folder in (run, other)
    )
    assert others == files


@pytest.fixture(scope="module")
def alone(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "tiny", TINY)
        train(WHOLE, photos, "tiny", folder)
    return folder


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # else what is to be preloaded is not found


@pytest.mark.usefixtures("importable")
def test_two_processes_train_as_one_and_resume(
    photos: Path,
    alone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    two, killed, by_one = (tmp_path / name for name in ("two", "killed", "by-one"))
    assert run(2, two, photos, WHOLE) == [0, 0]
    assert_alike(alone, two, MODEL)

    assert run(2, killed, photos, WHOLE, dies_at=4) == [9, 9]
    shutil.copytree(killed, by_one)
    assert run(2, killed, photos, WHOLE) == [0, 0]
    assert (killed / MODEL).read_bytes() == (two / MODEL).read_bytes()

    train(WHOLE, photos, "tiny", by_one)  # one process, from what two have written
    assert_alike(alone, by_one, MODEL)
    assert "checkpoint-2 was written by 2 processes, now there are 1" in capsys.readouterr().err


@pytest.mark.usefixtures("importable")
def test_two_processes_share_the_work_of_a_frozen_tower(photos: Path, tmp_path: Path) -> None:
    frozen = replace(WHOLE, trains=("projector", "language"), logging_steps=1)
    assert run(2, tmp_path / "two", photos, frozen) == [0, 0]
    assert not (tmp_path / "two" / "features").exists()
    train(frozen, photos, "tiny", tmp_path / "alone")
    for one, other in zip(read_log(tmp_path / "alone"), read_log(tmp_path / "two"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)


@pytest.mark.usefixtures("importable")
def test_sharded_weights_train_as_one_and_resume(photos: Path, alone: Path, tmp_path: Path) -> None:
    killed, by_one = tmp_path / "killed", tmp_path / "by-one"
    assert run(2, killed, photos, WHOLE, dies_at=4, **SHARDED) == [9, 9]
    shutil.copytree(killed, by_one)
    assert run(2, killed, photos, WHOLE, **SHARDED) == [0, 0]
    assert_alike(alone, killed, MODEL)
    train(WHOLE, photos, "tiny", by_one)
    assert_alike(alone, by_one, MODEL)


@pytest.mark.usefixtures("importable")
def test_adapters_on_sharded_weights_train_as_in_one_process(photos: Path, tmp_path: Path) -> None:
    alone, two = tmp_path / "alone", tmp_path / "two"
    train(ADAPTERS, photos, "tiny", alone)
    recomputing = replace(ADAPTERS, gradient_checkpointing=True)
    assert run(2, two, photos, recomputing, **SHARDED) == [0, 0]
    assert_alike(alone, two, ADAPTER)


@pytest.mark.parametrize(
    ("variable", "way_out"),
    [("ACCELERATE_USE_DEEPSPEED", "--use_fsdp"), ("FSDP_OFFLOAD_PARAMS", "use more processes")],
)
def test_other_ways_of_sharding_are_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, way_out: str
) -> None:
    for name, value in (SHARDED | {"WORLD_SIZE": "2", variable: "true"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=way_out):
        train(WHOLE, photos, "tiny", tmp_path / "run")
