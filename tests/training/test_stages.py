import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from addressvlm.errors import UsageError
from addressvlm.training.stages import ALIGNMENT, LOCALIZATION, Stage, for_mini, from_scratch

PAPER = Path(__file__).resolve().parents[3] / "shared" / "paper" / "tables.json"


def test_defaults_are_table_a1() -> None:
    if not PAPER.is_file():
        pytest.skip(f"{PAPER} is not there")
    printed = json.loads(PAPER.read_text("utf-8"))["tableA1"]
    stage = LOCALIZATION
    assert stage.per_device_train_batch_size == int(printed["Batch Size"][0])
    assert stage.accumulation(devices=8) == printed["Gradient Accumulation"]
    assert stage.learning_rate == printed["Learning Rate"]
    assert stage.weight_decay == printed["Weight Decay"]
    assert [stage.adam_beta1, stage.adam_beta2] == printed["Betas"]
    assert stage.warmup_ratio == printed["Warmup Ratio"]
    assert (stage.lora_rank, stage.lora_dropout) == (printed["LoRA Rank"], printed["LoRA Dropout"])
    assert stage.max_length == printed["Model Max Length"]


def test_both_stages_train_all_parts_with_adapters() -> None:
    for stage in (ALIGNMENT, LOCALIZATION):
        assert stage.trains == ("vision", "projector", "language")
        assert stage.tuning == "lora"


def test_stage_from_scratch_differs_only_in_what_random_weights_need() -> None:
    before, after = asdict(LOCALIZATION), asdict(from_scratch(LOCALIZATION))
    assert {field for field in before if before[field] != after[field]} == {
        "tuning",
        "learning_rate",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "num_train_epochs",
        "rounds",
        "rounds_drawn",
    }


def test_stage_for_a_mini_base_is_still_lora_on_everything() -> None:
    after = for_mini(LOCALIZATION)
    assert (after.tuning, after.trains) == ("lora", LOCALIZATION.trains)
    assert after.learning_rate > LOCALIZATION.learning_rate


def test_a_stage_is_json() -> None:
    assert json.loads(json.dumps(asdict(ALIGNMENT)))["name"] == "alignment"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0),
        ("save_steps", 0),
        ("lora_dropout", 1.0),
        ("warmup_ratio", -0.1),
        ("lora_rank", 0),
    ],
)
def test_value_out_of_range_is_an_error_that_names_the_field(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{field} is {value}"):
        replace(LOCALIZATION, **{field: value})


def test_only_parts_that_there_are_can_be_trained() -> None:
    with pytest.raises(UsageError, match="trains is vison,language; it must be of vision"):
        replace(LOCALIZATION, trains=("vison", "language"))


def test_every_field_says_what_it_is() -> None:
    import ast
    import inspect

    (cls,) = ast.parse(inspect.getsource(Stage)).body
    assert isinstance(cls, ast.ClassDef)
    fields = [i for i, node in enumerate(cls.body) if isinstance(node, ast.AnnAssign)]
    assert all(isinstance(cls.body[i + 1], ast.Expr) for i in fields)
