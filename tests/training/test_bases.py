from dataclasses import replace
from pathlib import Path

import pytest
from train_job import QUICK

from addressvlm.errors import UsageError
from addressvlm.model.backbone import Backbone, save_backbone
from addressvlm.training import bases
from addressvlm.training.bases import identify, suited
from addressvlm.training.stages import LOCALIZATION, for_mini, from_scratch
from addressvlm.training.train import train

SCRATCH, MINI, PAPER = from_scratch(LOCALIZATION), for_mini(LOCALIZATION), LOCALIZATION


def run_of(photos: Path, out: Path, base: str, tuning: str) -> str:
    train(replace(QUICK, tuning=tuning, num_train_epochs=1, max_steps=1), photos, base, out)
    return str(out)


def test_random_weights_and_all_that_is_tuned_whole_from_them_are_trained_from_scratch(
    photos: Path, tmp_path: Path
) -> None:
    assert suited(LOCALIZATION, "tiny") == suited(LOCALIZATION, "random:tiny") == SCRATCH
    first = run_of(photos, tmp_path / "first", "tiny", "full")
    assert suited(LOCALIZATION, first) == SCRATCH
    assert suited(LOCALIZATION, run_of(photos, tmp_path / "second", first, "full")) == SCRATCH


def test_adapters_are_not_a_start_from_scratch(photos: Path, tmp_path: Path) -> None:
    assert suited(LOCALIZATION, run_of(photos, tmp_path / "run", "tiny", "lora")) == MINI


def test_a_model_of_others_is_tuned_as_the_paper_does(photos: Path, tiny: Backbone, tmp_path: Path) -> None:
    tiny.model.config.addressvlm_backbone = "somebody's"
    save_backbone(replace(tiny, name="somebody's"), tmp_path / "model")
    assert suited(LOCALIZATION, str(tmp_path / "model")) == PAPER
    assert suited(LOCALIZATION, run_of(photos, tmp_path / "run", str(tmp_path / "model"), "full")) == PAPER


def test_a_preset_that_comes_with_weights_starts_from_them(
    photos: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.name = tiny.model.config.addressvlm_backbone = "tiny"
    save_backbone(tiny, tmp_path / "tiny")
    monkeypatch.setattr(bases, "shipped", lambda name: tmp_path / name if name == "tiny" else None)
    assert suited(LOCALIZATION, "tiny") == MINI
    assert suited(LOCALIZATION, "random:tiny") == SCRATCH
    assert identify("tiny", 0) == identify(str(tmp_path / "tiny"), 1)
    assert identify("random:tiny", 3) == {"preset": "tiny", "seed": 3}
    run = run_of(photos, tmp_path / "run", "tiny", "lora")
    assert (Path(run) / "base" / "model.safetensors").read_bytes() == (
        tmp_path / "tiny" / "model.safetensors"
    ).read_bytes()
    assert suited(LOCALIZATION, run) == MINI


@pytest.mark.parametrize("base", ["tinny", "random:tinny"])
def test_an_unknown_base_is_an_error(base: str) -> None:
    with pytest.raises(UsageError, match="tinny"):
        suited(LOCALIZATION, base)
