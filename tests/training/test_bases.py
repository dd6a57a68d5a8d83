from dataclasses import replace
from pathlib import Path

import pytest
from train_job import QUICK

from addressvlm.errors import UsageError
from addressvlm.model.backbone import Backbone, save_backbone
from addressvlm.training.bases import is_from_scratch
from addressvlm.training.train import train


def run_of(photos: Path, out: Path, base: str, tuning: str) -> str:
    train(replace(QUICK, tuning=tuning, num_train_epochs=1, max_steps=1), photos, base, out)
    return str(out)


def test_a_preset_and_all_that_is_tuned_whole_from_it_began_from_scratch(
    photos: Path, tmp_path: Path
) -> None:
    assert is_from_scratch("tiny")
    first = run_of(photos, tmp_path / "first", "tiny", "full")
    assert is_from_scratch(first)
    assert is_from_scratch(run_of(photos, tmp_path / "second", first, "full"))


def test_adapters_are_not_a_start_from_scratch(photos: Path, tmp_path: Path) -> None:
    assert not is_from_scratch(run_of(photos, tmp_path / "run", "tiny", "lora"))


def test_a_model_of_others_and_what_is_tuned_from_it_are_not(
    photos: Path, tiny: Backbone, tmp_path: Path
) -> None:
    tiny.model.config.addressvlm_backbone = "somebody's"
    save_backbone(replace(tiny, name="somebody's"), tmp_path / "model")
    assert not is_from_scratch(str(tmp_path / "model"))
    assert not is_from_scratch(run_of(photos, tmp_path / "run", str(tmp_path / "model"), "full"))


def test_an_unknown_base_is_an_error() -> None:
    with pytest.raises(UsageError, match="tinny"):
        is_from_scratch("tinny")
