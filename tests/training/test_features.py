import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_train import Killed, contents
from train_job import QUICK

from addressvlm.dataset.tables import read_conversations
from addressvlm.model.backbone import Backbone
from addressvlm.model.lora import PARTS, train_parts
from addressvlm.training import features, train, trainer
from addressvlm.training.batches import Conversations, collate
from addressvlm.training.features import is_fixed, keep_features, visits
from addressvlm.training.log import read_log
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.rowfiles import RowFiles
from addressvlm.training.stages import Stage

BLIND = replace(QUICK, tuning="full", trains=("projector", "language"), num_train_epochs=2)
Job = tuple[AnswerLoss, Conversations]


@pytest.fixture
def job(photos: Path, tiny: Backbone) -> Job:
    train_parts(tiny.model, BLIND.trains)
    conversations = Conversations(read_conversations(photos, "localization"), tiny, seed=0, max_length=500)
    return AnswerLoss(tiny.model, tiny.preprocessing, bf16=False), conversations


@pytest.fixture
def few_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five pictures in a file, three at once through the tower."""
    monkeypatch.setattr(features, "_FILE_BYTES", 5 * 4 * 8 * 4)
    monkeypatch.setattr(features, "_AT_ONCE", 3)


def without_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "keep_features", lambda *_: None)


def weights(run: Path) -> dict[str, torch.Tensor]:
    (file,) = [*run.glob("model/model.safetensors"), *run.glob("adapter/adapter_model.safetensors")]
    return load_file(file)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures every pass through the tower had."""
    passes: list[int] = []
    run = AnswerLoss.features_of

    def counting(self: AnswerLoss, pixels: torch.Tensor) -> torch.Tensor:
        passes.append(len(pixels))
        return run(self, pixels)

    monkeypatch.setattr(AnswerLoss, "features_of", counting)
    return passes


def test_features_give_the_loss_and_the_gradients_of_pixels(
    job: Job, tmp_path: Path, few_in_a_file: None
) -> None:
    loss, conversations = job

    def learned() -> dict[str, torch.Tensor]:
        batch = collate([conversations[0, index] for index in (4, 1, 11)], pad_id=0)
        found = loss(**{key: value for key, value in batch.items() if key != "photos"})["loss"]
        loss.zero_grad()
        found.backward()
        gradients = {n: w.grad.clone() for n, w in loss.named_parameters() if w.grad is not None}
        return {"loss": found.detach(), **gradients}

    expected = learned()
    kept = keep_features(loss, BLIND, conversations, tmp_path / "features")
    assert kept is not None
    conversations.use_features(kept.of)
    assert conversations[0, 0].pixels is None
    found = learned()
    assert found.keys() == expected.keys() > {"loss"}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("base", ["whole weights", "after a trained tower"])
def test_run_ends_as_without_features(
    base: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, start = BLIND, "tiny"
    if base == "after a trained tower":  # whose adapter is frozen but there
        start = str(tmp_path / "one")
        train.train(replace(QUICK, name="alignment", max_steps=3), photos, "tiny", tmp_path / "one")
        stage = replace(QUICK, trains=("projector", "language"), lora_dropout=0.1, num_train_epochs=2)
    passes = counted(monkeypatch)
    train.train(stage, photos, start, tmp_path / "kept")
    assert passes == [1, 12]  # a look at its shape, and all at once
    assert not (tmp_path / "kept" / "features").exists()
    without_features(monkeypatch)
    train.train(stage, photos, start, tmp_path / "plain")
    assert passes == [1, 12]
    for kept, plain in zip(read_log(tmp_path / "kept"), read_log(tmp_path / "plain"), strict=True):
        assert kept["loss"] == pytest.approx(plain["loss"], rel=1e-6)
    found = weights(tmp_path / "kept")
    for name, weight in weights(tmp_path / "plain").items():
        torch.testing.assert_close(found[name], weight, rtol=1e-6, atol=1e-6)


def test_killed_run_reads_what_it_kept_and_ends_with_the_same_bytes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_in_a_file: None
) -> None:
    train.train(BLIND, photos, "tiny", tmp_path / "whole")
    clip = trainer._RunTrainer._clip_grad_norm

    def kill(self: Any, model: Any) -> torch.Tensor:
        if self.state.global_step == 3:
            raise Killed
        return clip(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(trainer._RunTrainer, "_clip_grad_norm", kill)
        with pytest.raises(Killed):
            train.train(BLIND, photos, "tiny", tmp_path / "run")
    torn = tmp_path / "run" / "features" / "00001.npy"
    torn.write_bytes(torn.read_bytes()[:-1])
    passes = counted(monkeypatch)
    train.train(BLIND, photos, "tiny", tmp_path / "run")
    assert passes == [1, 3, 2]  # the look, and the torn file
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_two_processes_make_the_files_that_one_makes(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_in_a_file: None
) -> None:
    loss, conversations = job
    rows = {name: RowFiles(tmp_path / name, 12, (4, 8), "float32", features._FILE_BYTES) for name in "ab"}
    for one in rows.values():
        one.folder.mkdir()
    features._compute(loss, rows["a"], conversations, 0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    made = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        features._compute(loss, rows["b"], conversations, 0)
        made.append(sorted(path.name for path in rows["b"].folder.iterdir()))
    assert made == [["00000.npy", "00002.npy"], ["00000.npy", "00001.npy", "00002.npy"]]
    for number in range(3):
        assert rows["a"].path(number).read_bytes() == rows["b"].path(number).read_bytes()


def test_processes_that_decode_beside_the_tower_change_nothing(job: Job, tmp_path: Path) -> None:
    loss, conversations = job
    stages = {"alone": BLIND, "beside": replace(BLIND, dataloader_num_workers=2)}
    for name, stage in stages.items():
        assert keep_features(loss, stage, conversations, tmp_path / name)
    alone, beside = ((tmp_path / name / "00000.npy").read_bytes() for name in stages)
    assert alone == beside


def test_features_in_bfloat16_come_back_as_they_were(photos: Path, tiny: Backbone, tmp_path: Path) -> None:
    tiny.model.to(torch.bfloat16)
    train_parts(tiny.model, BLIND.trains)
    conversations = Conversations(read_conversations(photos, "localization"), tiny, seed=0, max_length=500)
    loss = AnswerLoss(tiny.model, tiny.preprocessing, bf16=False)
    kept = keep_features(loss, BLIND, conversations, tmp_path / "features")
    assert kept is not None
    pixels = torch.stack([torch.from_numpy(conversations.pixels(file)) for file in conversations.files])
    expected = loss.features_of(pixels)
    assert expected.dtype == torch.bfloat16
    assert torch.equal(torch.stack([kept.of(file) for file in conversations.files]), expected)


def no_dropout(job: Job) -> None: ...


def train_the_tower(job: Job) -> None:
    train_parts(job[0].model, PARTS)


def drop_in_the_tower(job: Job) -> None:
    job[0].base.config.vision_config.attention_dropout = 0.1


def add_a_dropout(job: Job) -> None:
    job[0].base.base_model.vision_tower.encoder.layers[0].mlp.activation_fn = torch.nn.Dropout(0.1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [(no_dropout, True), (train_the_tower, False), (drop_in_the_tower, False), (add_a_dropout, False)],
)
def test_features_are_kept_only_of_a_tower_that_stays_the_same(
    change: Callable[[Job], None], expected: bool, job: Job
) -> None:
    change(job)
    assert is_fixed(job[0].base) is expected


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (BLIND, 2.0),
        (replace(BLIND, num_train_epochs=1.5), 1.5),
        (replace(BLIND, max_steps=9), 3.0),  # of four conversations each
    ],
)
def test_visits_of_a_picture_are_counted(stage: Stage, expected: float, job: Job) -> None:
    assert visits(stage, job[1]) == expected


def test_nothing_is_kept_for_a_single_visit(job: Job, tmp_path: Path) -> None:
    assert keep_features(job[0], replace(BLIND, num_train_epochs=1), job[1], tmp_path / "f") is None
    assert not (tmp_path / "f").exists()


def test_nothing_is_kept_where_the_disk_is_too_small(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = 12 * 4 * 8 * 4
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * needed - 1))
    assert keep_features(*job[:1], BLIND, job[1], tmp_path / "f") is None
    assert "the frozen tower is computed in every epoch" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * needed))
    assert keep_features(*job[:1], BLIND, job[1], tmp_path / "f") is not None
