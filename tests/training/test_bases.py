import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from train_job import QUICK

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import read_json
from addressvlm.model import hub, memory, quantizing
from addressvlm.model.backbone import Backbone, build_backbone, load_run, save_backbone
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
    assert suited(LOCALIZATION, str(tmp_path / "tiny")) == MINI  # the same, given as a folder


def test_a_folder_of_another_step_is_no_base(photos: Path) -> None:
    with pytest.raises(UsageError, match="is no run or model but the folder of a dataset"):
        suited(LOCALIZATION, str(photos))


@pytest.mark.parametrize("base", ["tinny", "random:tinny"])
def test_an_unknown_base_is_an_error(base: str) -> None:
    with pytest.raises(UsageError, match="tinny"):
        suited(LOCALIZATION, base)


def test_stage_2_goes_on_with_the_adapters_of_stage_1_or_merges_them_under_fresh_ones(
    photos: Path, tmp_path: Path
) -> None:
    first = str(tmp_path / "first")
    train(replace(QUICK, max_steps=3), photos, "tiny", Path(first))
    stage = replace(QUICK, max_steps=1)
    for way in ("continue", "merge"):
        train(replace(stage, earlier_adapter=way), photos, first, tmp_path / way)
    bases = {
        name: (tmp_path / name / "base" / "model.safetensors").read_bytes()
        for name in ("first", "continue", "merge")
    }
    assert bases["continue"] == bases["first"] != bases["merge"]


def test_four_bits_without_a_gpu_are_refused_by_name(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quantization = nf4 needs a CUDA GPU"):
        train(replace(QUICK, quantization="nf4"), photos, "tiny", tmp_path / "run")


def test_four_bits_without_bitsandbytes_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(quantizing, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install addressvlm\[qlora\]"):
        quantizing.require_quantizer("nf4")


@pytest.mark.parametrize("base", ["llava-phi3-mini", "minicpm-v", "somebody/some-model@abc123"])
def test_a_model_that_is_not_on_this_machine_comes_with_the_command_that_fetches_it(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "snapshot_download", partial(hub.snapshot_download, cache_dir=tmp_path))
    with pytest.raises(
        UsageError, match="`hf download [^ ]+/[^ ]+( --revision abc123)?`, behind which this name"
    ):
        identify(base, 0)


def test_a_downloaded_model_is_found_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--xtuner--llava-phi-3-mini-hf" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr(hub, "snapshot_download", partial(hub.snapshot_download, cache_dir=tmp_path))
    assert hub.downloaded("llava-phi3-mini") == snapshot
    assert hub.downloaded(f"xtuner/llava-phi-3-mini-hf@{'a' * 40}") == snapshot
    assert suited(LOCALIZATION, "llava-phi3-mini") == PAPER


def test_the_paper_s_model_with_random_weights_is_refused_where_it_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 10**9)
    with pytest.raises(
        AddressVLMError, match=r"llava-phi3-mini with random weights needs 16\.5 GB, but 1\.0 GB"
    ):
        build_backbone("llava-phi3-mini", seed=0)


def test_a_run_of_another_format_is_refused_by_name(photos: Path, tmp_path: Path) -> None:
    run = Path(run_of(photos, tmp_path / "run", "tiny", "lora"))
    summary = read_json(run / "summary.json")
    assert summary["format"] == 1
    newer = {"format": 2, "versions": {"addressvlm": "9.0"}}
    (run / "summary.json").write_text(json.dumps(summary | newer))
    for refused in (lambda: load_run(run), lambda: run_of(photos, tmp_path / "next", str(run), "lora")):
        with pytest.raises(AddressVLMError, match=r"has format 2 \(addressvlm 9\.0 made it\)"):
            refused()
