import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from addressvlm.errors import UsageError
from addressvlm.training.recipes import (
    ABOUT,
    CHOSEN,
    PRINTED,
    RECIPES,
    TABLE4,
    page,
    source,
    variant,
    with_recipe,
)
from addressvlm.training.stages import ALIGNMENT, LOCALIZATION, Stage, for_mini

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_made_from_the_data() -> None:
    assert (ROOT / "docs" / "recipes.md").read_text("utf-8") == page()


def test_every_field_is_either_printed_or_our_choice_with_a_reason() -> None:
    names = {field.name for field in fields(Stage)}
    assert PRINTED.keys() | CHOSEN.keys() == names
    assert not PRINTED.keys() & CHOSEN.keys()
    assert all(reason.strip() for reason in CHOSEN.values())
    assert source("lora_alpha").startswith("**our choice**")


def test_the_paper_s_recipe_is_table_a1_whatever_the_base_suggested() -> None:
    paper = with_recipe(LOCALIZATION, "paper")
    assert paper == LOCALIZATION
    assert (paper.learning_rate, paper.weight_decay, paper.adam_beta1, paper.adam_beta2) == (
        1e-5,
        0.0,
        0.9,
        0.999,
    )
    assert (paper.lora_rank, paper.lora_alpha, paper.lora_dropout) == (128, 256, 0.05)
    assert (paper.warmup_ratio, paper.lr_scheduler_type, paper.max_grad_norm) == (0.03, "cosine", 1.0)
    assert (paper.max_length, paper.effective_batch_size) == (1472, 512)


@pytest.mark.parametrize(("devices", "steps"), [(1, 128), (2, 64), (8, 16)])
def test_512_conversations_make_a_step_on_any_number_of_devices(devices: int, steps: int) -> None:
    assert LOCALIZATION.accumulation(devices) == steps


def test_devices_that_cannot_share_the_batch_are_refused() -> None:
    with pytest.raises(UsageError, match=r"effective_batch_size is 512, but 3 device\(s\)"):
        LOCALIZATION.accumulation(3)
    assert replace(LOCALIZATION, gradient_accumulation_steps=5).accumulation(3) == 5


def test_recipes_differ_from_the_paper_s_in_what_they_say() -> None:
    assert with_recipe(LOCALIZATION, "llava-lora").learning_rate == 2e-4
    assert with_recipe(LOCALIZATION, "qlora").quantization == "nf4"
    assert RECIPES.keys() == ABOUT.keys()
    with pytest.raises(UsageError, match="there is no recipe 'papr'; there are paper, llava-lora, qlora"):
        with_recipe(LOCALIZATION, "papr")


@pytest.mark.parametrize("row", TABLE4)
def test_rows_of_table_4_are_the_paper_s_ticks(row: str) -> None:
    ticks = {
        "A": (False, False, False),
        "B": (False, False, True),
        "C": (False, True, False),
        "D": (False, True, True),
        "E": (True, True, False),
        "Ours": (True, True, True),
    }[row]
    first, second = (set(variant(stage, row).trains) for stage in (ALIGNMENT, LOCALIZATION))
    assert ("vision" in first, "language" in first, "vision" in second) == ticks
    assert "projector" in first & second
    assert "language" in second


def test_a_row_that_table_4_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="no row 'F'"):
        variant(ALIGNMENT, "F")


def test_four_bits_cannot_be_tuned_whole() -> None:
    with pytest.raises(UsageError, match="nf4 cannot be tuned whole"):
        replace(LOCALIZATION, quantization="nf4", tuning="full")


def test_recipes_are_json_and_leave_mini_stages_alone() -> None:
    assert json.loads(json.dumps(dict(RECIPES["qlora"]))) == {"quantization": "nf4"}
    assert for_mini(LOCALIZATION).accumulation(1) == 1
