"""Both stages end to end at the paper's sizes with random weights: does it run, how fast, is a kill harmless?

    python -m addressvlm.experiments.fullsize --out runs/fullsize --results results

needs a GPU and takes a few minutes; `--size mini` does the same small on a CPU. The second stage is trained
twice, once without interruption and once killed in the middle and continued: both must end with the same
bytes. Pictures are blobs and noise unless a data set is given, so no geographic library is needed.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from addressvlm.environment import environment
from addressvlm.errors import AddressVLMError
from addressvlm.experiments.benchtrain import full_backbone
from addressvlm.experiments.results import publish
from addressvlm.experiments.synthetic import synthetic_dataset
from addressvlm.folders import SUMMARY, read_json
from addressvlm.model.backbone import build_backbone, save_backbone
from addressvlm.model.checkpoints import verify
from addressvlm.training.log import read_log
from addressvlm.training.stages import ALIGNMENT, LOCALIZATION, Stage, for_mini
from addressvlm.training.train import train
from addressvlm.work import say

STAGES = {"alignment": ALIGNMENT, "localization": LOCALIZATION}


def run_fullsize(
    out: Path, *, size: str = "full", steps: int = 100, batch: int = 4, dataset: Path | None = None
) -> dict[str, Any]:
    """Train both stages for `steps` optimizer steps, the second also with a kill; returns what came of it."""
    data = dataset or synthetic_dataset(out / "dataset", photos=max(16, batch * 8))
    base = out / "base"
    if not base.is_dir():
        _make_base(base, size)
    verify(base)
    seconds = {}
    aligned, whole, killed = (out / name for name in ("alignment", "localization", "localization-killed"))
    for name, run, start in (("alignment", aligned, base), ("localization", whole, aligned)):
        say(f"fullsize: {run.name}")
        begun = time.monotonic()
        _train_in_process(name, run, data, start, size, steps, batch)
        seconds[name] = round(time.monotonic() - begun, 1)
    say("fullsize: localization again, killed and continued")
    reached = _train_in_process("localization", killed, data, aligned, size, steps, batch, dies_at=steps // 2)
    _train_in_process("localization", killed, data, aligned, size, steps, batch)
    summaries = {run.name: read_json(run / SUMMARY) for run in (aligned, whole, killed)}
    return {
        "size": size,
        "steps": steps,
        "batch": batch,
        "parameters": summaries[whole.name]["parameters"],
        "trained": summaries[whole.name]["trained"],
        "precision": summaries[whole.name]["precision"],
        "seconds_with_loading": seconds,
        "pictures_a_second": {run.name: _rate(run, batch) for run in (aligned, whole)},
        "loss": {
            run.name: [line["loss"] for line in read_log(run)][:: max(1, steps // 5)] for run in (whole,)
        },
        "killed_at": reached,
        "same_bytes": summaries[whole.name]["sha256"] == summaries[killed.name]["sha256"],
        **environment(),
    }


def _make_base(folder: Path, size: str) -> None:
    """Random weights, drawn on the GPU where there is one, which is free again afterwards."""
    if size == "full":
        backbone = full_backbone("cuda" if torch.cuda.is_available() else "cpu")
        backbone.model.cpu()
    else:
        backbone = build_backbone("mini", seed=0)
    save_backbone(backbone, folder)
    del backbone
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _stage(name: str, size: str, steps: int, batch: int) -> Stage:
    stage = STAGES[name] if size == "full" else for_mini(STAGES[name])
    return replace(
        stage,
        rounds="chain",
        rounds_drawn=None,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=1,
        max_steps=steps,
        save_steps=max(1, steps // 4),
        logging_steps=1,
    )


def _train_in_process(
    name: str,
    run: Path,
    data: Path,
    base: Path,
    size: str,
    steps: int,
    batch: int,
    dies_at: int | None = None,
) -> int:
    """Train in a process of its own, deterministically; with `dies_at` it is killed there. The last step."""
    command = [sys.executable, "-m", __spec__.name, "--child", name, "--dataset", str(data)]
    command += ["--base", str(base), "--out", str(run), "--size", size]
    command += ["--steps", str(steps), "--batch", str(batch)]
    environ = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    with subprocess.Popen(command, env=environ) as job:  # noqa: S603  # this module itself
        while job.poll() is None:
            if dies_at is not None and len(read_log(run)) >= dies_at:
                job.send_signal(signal.SIGKILL)
            time.sleep(0.05)
    if job.returncode and not (dies_at is not None and job.returncode == -signal.SIGKILL):
        raise AddressVLMError(f"{run.name} ended with {job.returncode}; what it said stands above")
    return len(read_log(run))


def _rate(run: Path, batch: int) -> float:
    """Pictures a second between the first and the last line of the log; checkpoints are in it."""
    first, *_, last = read_log(run)
    return float(batch * (last["step"] - first["step"]) / max(1e-9, last["seconds"] - first["seconds"]))


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/fullsize"))
    parser.add_argument("--size", choices=("full", "mini"), default="full")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--dataset", type=Path, help="a data set made elsewhere, instead of blobs")
    parser.add_argument("--results", type=Path, help="also write fullsize.json into this folder")
    parser.add_argument("--child", choices=tuple(STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        torch.use_deterministic_algorithms(True, warn_only=True)
        train(_stage(given.child, given.size, given.steps, given.batch), given.dataset, given.base, given.out)
        return
    result = run_fullsize(
        given.out, size=given.size, steps=given.steps, batch=given.batch, dataset=given.dataset
    )
    if given.results:
        command = f"python -m addressvlm.experiments.fullsize --size {given.size} --steps {given.steps}"
        publish(result, given.results / "fullsize.json", command)
    print({key: value for key, value in result.items() if key != "versions"})


if __name__ == "__main__":
    main()
