import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_photos import tiny_dataset
from train_job import QUICK, stage

from addressvlm.errors import AddressVLMError, InterruptedJob, UsageError
from addressvlm.folders import read_json, write_json
from addressvlm.model.backbone import build_backbone, load_backbone, load_run, save_backbone
from addressvlm.model.checkpoints import checkpoints
from addressvlm.training import trainer
from addressvlm.training.log import read_log
from addressvlm.training.precision import computes_in_bf16
from addressvlm.training.stages import ALIGNMENT
from addressvlm.training.train import train

JOB = Path(__file__).with_name("train_job.py")
STEPS = 15  # 12 photos, batches of 2, 2 batches a step, 5 epochs


class Killed(BaseException):
    """Stands for the end of the process: nothing in the library may catch it."""


def contents(run: Path) -> dict[str, bytes]:
    """All files of a run; the log without its seconds and the plot of it are the same for the same losses."""
    files = {p.relative_to(run).as_posix(): p for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    found = {name: path.read_bytes() for name, path in files.items() if name != "log.jsonl"}
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(run)]
    return found | {"log.jsonl": json.dumps(lines).encode()}


def test_names_that_nobody_can_read_are_warned_of(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen_px = build_backbone("tiny", seed=0).preprocessing.size_px
    for number, (image_px, labelled, warned) in enumerate(
        ((4 * seen_px, False, True), (4 * seen_px, True, True), (2 * seen_px, False, False))
    ):
        data = shutil.copytree(photos, tmp_path / f"data{number}")
        config = {**read_json(data / "config.json"), "image_px": image_px, "font_px": 24}
        if labelled:  # by the job `label`, which keeps how the data set was made
            write_json(data / "source.json", config)
            config = {"step": "labels"}
        write_json(data / "config.json", config)
        train(replace(stage("full"), name="alignment", max_steps=1), data, "tiny", tmp_path / f"run{number}")
        said = capsys.readouterr().err
        assert ("street names are 6.0 px high" in said) == warned
        assert (f"--image-px {seen_px}" in said) == warned


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One uninterrupted run of each tuning, made when first asked for."""
    return {}


def uninterrupted(whole: dict[str, Path], tuning: str, photos: Path) -> Path:
    if tuning not in whole:
        whole[tuning] = photos.parent / f"whole-{tuning}"
        train(stage(tuning), photos, "tiny", whole[tuning])
    return whole[tuning]


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_loss_falls(tuning: str, photos: Path, whole: dict[str, Path]) -> None:
    losses = [line["loss"] for line in read_log(uninterrupted(whole, tuning, photos))]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_run_has_the_files_of_the_format_and_no_others(
    tuning: str, photos: Path, whole: dict[str, Path]
) -> None:
    run = uninterrupted(whole, tuning, photos)
    always = {"config.json", "summary.json", "log.jsonl", "loss.png", "gazetteer.parquet", ".lock"}
    model = {"adapter", "base"} if tuning == "lora" else {"model"}
    assert {path.name for path in run.iterdir()} == always | model


def test_log_has_one_line_a_logged_step(photos: Path, whole: dict[str, Path]) -> None:
    lines = read_log(uninterrupted(whole, "full", photos))
    assert [line["step"] for line in lines] == [3, 6, 9, 12, 15]
    assert list(lines[0]) == ["step", "epoch", "loss", "learning_rate", "grad_norm", "seconds"]


def test_summary_tells_what_was_trained(photos: Path, whole: dict[str, Path]) -> None:
    summary = read_json(uninterrupted(whole, "full", photos) / "summary.json")
    weights = sum(w.numel() for w in build_backbone("tiny", seed=0).model.parameters())
    assert (summary["steps"], summary["samples"], summary["parameters"]) == (STEPS, 12, weights)
    assert summary["trained"] < weights  # the last vision layer is not read
    assert "transformers" in summary["versions"]


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_no_file_of_a_run_names_a_path(tuning: str, photos: Path, whole: dict[str, Path]) -> None:
    run = uninterrupted(whole, tuning, photos)
    for content in contents(run).values():
        assert str(photos.parent).encode() not in content


def test_complete_run_is_left_alone(photos: Path, whole: dict[str, Path]) -> None:
    run = uninterrupted(whole, "full", photos)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    assert train(stage("full"), photos, "tiny", run) == read_json(run / "summary.json")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"} == before


@pytest.mark.parametrize(
    ("step", "tuning"), [(1, "full"), (2, "full"), (4, "lora"), (7, "lora"), (15, "full")]
)
def test_run_killed_in_a_step_ends_with_the_same_bytes(
    step: int,
    tuning: str,
    photos: Path,
    whole: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = trainer._RunTrainer._clip_grad_norm

    def kill(self: Any, model: Any) -> torch.Tensor:
        if self.state.global_step + 1 == step:
            raise Killed
        return clip(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(trainer._RunTrainer, "_clip_grad_norm", kill)
        with pytest.raises(Killed):
            train(stage(tuning), photos, "tiny", tmp_path / "run")
    train(stage(tuning), photos, "tiny", tmp_path / "run")
    assert contents(tmp_path / "run") == contents(uninterrupted(whole, tuning, photos))


@pytest.mark.parametrize("place", ["plot_loss", "_save", "_copy", "rmtree"])
def test_run_killed_after_its_last_step_ends_with_the_same_bytes(
    place: str, photos: Path, whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"addressvlm.training.train.{place}", kill)
        with pytest.raises(Killed):
            train(stage("full"), photos, "tiny", tmp_path / "run")
    train(stage("full"), photos, "tiny", tmp_path / "run")
    assert contents(tmp_path / "run") == contents(uninterrupted(whole, "full", photos))


def test_torn_checkpoint_is_not_continued(
    photos: Path,
    whole: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    stopped_at(9, photos, run, monkeypatch)
    newest = checkpoints(run / "checkpoints")[-1]
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:-10])
    capsys.readouterr()
    train(stage("full"), photos, "tiny", run)
    assert capsys.readouterr().err.count("skipped a checkpoint") == 1
    assert contents(run) == contents(uninterrupted(whole, "full", photos))


@pytest.mark.parametrize("file", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"])
def test_checkpoint_without_its_state_is_not_continued(
    file: str, photos: Path, whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stopped_at(5, photos, run, monkeypatch)
    for checkpoint in checkpoints(run / "checkpoints"):
        (checkpoint / file).unlink()
    train(stage("full"), photos, "tiny", run)
    assert contents(run) == contents(uninterrupted(whole, "full", photos))


def test_signal_ends_with_a_checkpoint_and_the_same_bytes(
    photos: Path, whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stopped_at(5, photos, run, monkeypatch)
    assert [path.name for path in checkpoints(run / "checkpoints")][-1] == "checkpoint-5"
    train(stage("full"), photos, "tiny", run)
    assert contents(run) == contents(uninterrupted(whole, "full", photos))


def stopped_at(step: int, photos: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until Ctrl-C, and SIGTERM from a parent that had it, too, arrive in the middle of a step."""
    clip = trainer._RunTrainer._clip_grad_norm

    def signalled(self: Any, model: Any) -> torch.Tensor:
        if self.state.global_step + 1 == step:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        return clip(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(trainer._RunTrainer, "_clip_grad_norm", signalled)
        with pytest.raises(InterruptedJob, match=f"stopped after step {step} of {STEPS}"):
            train(stage("full"), photos, "tiny", run)


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_process_killed_twice_at_random_ends_with_the_same_bytes(
    tuning: str, photos: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    rng, run = random.Random(tuning), tmp_path / "run"
    command = [sys.executable, str(JOB), str(run), str(photos), tuning]
    for _ in range(2):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as job:
            seen = len(read_log(run))
            while job.poll() is None and len(read_log(run)) <= seen:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.3))
            job.kill()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert contents(run) == contents(uninterrupted(whole, tuning, photos))


@pytest.mark.parametrize(
    ("change", "named"),
    [({"learning_rate": 0.5}, "learning_rate: 0.01 there, 0.5 now"), ({"trains": ("vision",)}, "trains")],
)
def test_changed_stage_is_refused_with_the_field(
    change: dict[str, Any], named: str, photos: Path, whole: dict[str, Path]
) -> None:
    run = uninterrupted(whole, "full", photos)
    with pytest.raises(UsageError, match=named):
        train(replace(stage("full"), **change), photos, "tiny", run)


def test_changed_data_set_is_refused(photos: Path, whole: dict[str, Path], tmp_path: Path) -> None:
    run = uninterrupted(whole, "full", photos)
    other = tiny_dataset(tmp_path / "data", photos=9)
    with pytest.raises(UsageError, match="dataset"):
        train(stage("full"), other, "tiny", run)


def test_base_that_is_not_finished_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"step": "run"}')
    with pytest.raises(AddressVLMError, match="not complete"):
        train(stage("full"), photos, str(tmp_path / "base"), tmp_path / "run")


def test_last_step_is_logged_even_between_lines(photos: Path, tmp_path: Path) -> None:
    train(replace(stage("full"), max_steps=4), photos, "tiny", tmp_path / "run")
    assert [line["step"] for line in read_log(tmp_path / "run")] == [3, 4]


def test_incomplete_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(AddressVLMError, match="not complete"):
        train(stage("full"), tmp_path / "data", "tiny", tmp_path / "run")


@pytest.mark.parametrize("base", ["minni", "runs/nowhere"])
def test_base_that_does_not_exist_is_refused_before_anything_is_written(
    base: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=base):
        train(stage("full"), photos, base, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_loss_that_is_no_number_stops_with_step_and_photos(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = build_backbone("tiny", seed=0)
    with torch.no_grad():
        backbone.model.lm_head.weight.fill_(torch.nan)
    save_backbone(backbone, tmp_path / "broken")
    with pytest.raises(AddressVLMError, match=r"the loss became nan at step 1 \(photos p\d\d, p\d\d\)"):
        train(stage("full"), photos, str(tmp_path / "broken"), tmp_path / "run")


def test_second_stage_goes_on_with_the_adapter_of_the_first(photos: Path, tmp_path: Path) -> None:
    first = replace(QUICK, name="alignment", max_steps=4)
    train(first, photos, "tiny", tmp_path / "one")
    train(replace(QUICK, max_steps=1, learning_rate=1e-9), photos, str(tmp_path / "one"), tmp_path / "two")
    one, two = load_run(tmp_path / "one"), load_run(tmp_path / "two")
    for before, after in zip(one.model.parameters(), two.model.parameters(), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    assert (tmp_path / "two" / "base" / "model.safetensors").samefile(
        tmp_path / "one" / "base" / "model.safetensors"
    )


def test_adapter_of_another_rank_is_merged_first(photos: Path, tmp_path: Path) -> None:
    train(replace(QUICK, max_steps=4), photos, "tiny", tmp_path / "one")
    second = replace(QUICK, max_steps=1, learning_rate=1e-9, lora_rank=2)
    train(second, photos, str(tmp_path / "one"), tmp_path / "two")
    one, two = load_run(tmp_path / "one"), load_run(tmp_path / "two")
    for before, after in zip(one.model.parameters(), two.model.parameters(), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def test_full_tuning_goes_on_from_a_run_with_adapters(photos: Path, tmp_path: Path) -> None:
    train(replace(QUICK, max_steps=2), photos, "tiny", tmp_path / "one")
    summary = train(replace(stage("full"), max_steps=2), photos, str(tmp_path / "one"), tmp_path / "two")
    assert summary["base"] == "random:tiny"
    assert load_run(tmp_path / "two").name == "random:tiny"


def test_part_that_is_not_trained_stays_as_it_was(photos: Path, tmp_path: Path) -> None:
    train(replace(QUICK, max_steps=3, trains=("projector", "language")), photos, "tiny", tmp_path / "run")
    before, after = load_backbone(tmp_path / "run" / "base"), load_run(tmp_path / "run")
    vision = zip(
        before.model.model.vision_tower.parameters(), after.model.model.vision_tower.parameters(), strict=True
    )
    assert all(torch.equal(one, two) for one, two in vision)


def test_projector_alone_is_trained_whole(photos: Path, tmp_path: Path) -> None:
    summary = train(replace(QUICK, max_steps=2, trains=("projector",)), photos, "tiny", tmp_path / "run")
    assert summary["trained"] == 2 * (8 * 8 + 8)
    assert (tmp_path / "run" / "model").is_dir()


def test_chosen_fit_is_kept_with_the_run(photos: Path, tmp_path: Path) -> None:
    for tuning in ("lora", "full"):
        chosen = replace(stage(tuning), max_steps=1, image_fit="crop")
        train(chosen, photos, "tiny", tmp_path / tuning)
        assert load_run(tmp_path / tuning).preprocessing.fit == "crop"


def test_alignment_learns_from_its_own_table(photos: Path, tmp_path: Path) -> None:
    small = replace(QUICK, name=ALIGNMENT.name, max_steps=1)
    assert train(small, photos, "tiny", tmp_path / "run")["stage"] == "alignment"


def test_training_works_outside_the_main_thread(photos: Path, tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    small = replace(stage("full"), max_steps=1)
    thread = threading.Thread(target=lambda: results.append(train(small, photos, "tiny", tmp_path / "run")))
    thread.start()
    thread.join()
    assert results[0]["steps"] == 1


@pytest.mark.parametrize(("bf16", "expected"), [("true", True), ("false", False)])
def test_precision_can_be_chosen(bf16: str, expected: bool) -> None:
    assert computes_in_bf16(replace(QUICK, bf16=bf16)) is expected
