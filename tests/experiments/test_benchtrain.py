import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from addressvlm.experiments import benchtrain
from addressvlm.experiments.benchtrain import (
    QUICK,
    bench_training,
    bench_training_table,
    epoch_hours,
    predictions,
    publish_bench_training,
)
from addressvlm.experiments.trainlanes import Lane
from addressvlm.folders import read_json
from addressvlm.model.backbone import build_backbone
from addressvlm.model.flops import training_flops


@pytest.mark.slow
def test_lanes_are_timed_and_loss_and_gradients_agree(tmp_path: Path) -> None:
    plan = replace(QUICK, precisions=("fp32",))
    result = bench_training(plan, chosen=["Trainer + PEFT, their defaults", "ours", "TRL"])
    lanes = {lane["lane"]: lane for lane in result["lanes"]}
    assert lanes["ours"]["steps"] == 1
    assert lanes["Trainer + PEFT, their defaults"]["pictures_a_second"] > 0
    if importlib.util.find_spec("trl") is None:
        assert lanes["TRL SFTTrainer, its defaults"]["wrong"] == "trl is not installed"
    assert result["agreement"]["loss"] < 1e-5
    assert result["agreement"]["gradients"] < 1e-5
    assert {one["size_px"] for one in result["loader"].values()} == {144, 336}
    publish_bench_training(result, tmp_path, "a test")
    assert read_json(tmp_path / "bench-train.json")["made"]["command"] == "a test"
    assert "| ours | fp32 |" in (tmp_path / "bench-train.md").read_text("utf-8")


def test_lanes_that_fail_or_are_missing_have_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no such thing")

    broken = [Lane("broken", "fp32", None, fail), Lane("absent", "fp32", "no_such_package", fail)]
    monkeypatch.setattr(benchtrain, "lanes", lambda *, bf16: broken)
    table = bench_training_table(bench_training(replace(QUICK, precisions=("fp32",))))
    assert "| broken | fp32 | ValueError: no such thing |" in table
    assert "| absent | fp32 | no_such_package is not installed |" in table


def test_arithmetic_is_counted_by_hand() -> None:
    """The mini model on 144 picture tokens and 36 others, without adapters' share, 10 labels."""
    model = build_backbone("mini", seed=0).model
    vision, language = 4 * 128**2 + 2 * 128 * 384, 4 * 128**2 + 3 * 128 * 384
    linears = 4 * (6 * 145 * vision + 2 * 180 * language + 180 * 3 * 128**2 + 10 * (language - 3 * 128**2))
    attention = 3.5 * 4 * (6 * 145 * 145 * 128 + (2 * 180 + 10) * 90 * 128)
    projector, head = 6 * 144 * (128 * 128 + 128**2), 4 * 10 * 128 * model.config.text_config.vocab_size
    ends_vision, ends_language = 4 * 256 + 2 * 512, 512 + 256 + 896 + 512
    adapters = 6 * 2 * (6 * 145 * ends_vision + 2 * 180 * ends_language + 180 * 512 + 10 * (256 + 896 + 512))
    found = training_flops(model, tokens=180, labels=10, rank=2)
    assert found == pytest.approx(linears + attention + projector + head + adapters)


def test_a_frozen_tower_is_not_gone_back_through() -> None:
    model = build_backbone("mini", seed=0).model
    both, language = (
        training_flops(model, tokens=100, labels=10, rank=2, adapted=parts)
        for parts in (("vision", "language"), ("language",))
    )
    assert both - language > 2 * 6 * 65 * (4 * 192**2 + 2 * 192 * 576)


def test_hours_of_an_epoch() -> None:
    assert epoch_hours(1e13, flops_a_second=1e14, pictures=36_000) == pytest.approx(1.0)


def test_predictions_are_of_the_papers_model() -> None:
    found = predictions()
    assert found["tokens"] == 576 + 7 * 49
    assert found["tflop_a_picture"] == pytest.approx(16, rel=0.05)
    assert found["hours"]["1 x H200"] < found["hours"]["8 x RTX 3090"]


def test_the_bench_needs_no_geographic_library() -> None:
    """A GPU machine has none; the modules are looked for in a process of their own."""
    import subprocess
    import sys

    absent = ["geopandas", "shapely", "pyproj", "pyogrio", "mapnik", "embreex", "trimesh", "mercantile"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "import addressvlm.experiments.benchtrain, addressvlm.training.train, addressvlm.cli.main\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_matrix_rate_is_positive() -> None:
    assert benchtrain.matrix_rate("fp32", "cpu") > 1e8
    assert torch.get_num_threads() >= 1


def test_processes_of_the_loader_are_counted_for_the_model_that_was_trained() -> None:
    sizes = (("mini", 112), ("llava-phi3-mini", 336))
    rates = {"decoded": 50.0, "shards": 400.0}
    loader = {name: {"size_px": px, "jpeg_bytes": 9e3, "pictures_a_second": rates} for name, px in sizes}
    lanes = [
        {"lane": "ours", "pictures_a_second": 90.0},
        {"lane": "ours, no dropout", "pictures_a_second": 100.0},
        {"lane": "TRL", "pictures_a_second": 999.0},
    ]
    rows = benchtrain._loader({"plan": {"size": "full"}, "lanes": lanes, "loader": loader})
    assert rows[-2:] == [
        "| 112 px, 9 kB | 50 | 400 |  |",
        "| 336 px, 9 kB | 50 | 400 | 2.00; 0.25 |",
    ]
