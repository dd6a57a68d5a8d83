"""Recipes of stages by name, Table 4's variants, and where every value of them comes from.

`python -m addressvlm.training.recipes > docs/recipes.md` writes the page that a reader sees, from these data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from addressvlm.errors import UsageError
from addressvlm.training.stages import ALIGNMENT, LOCALIZATION, Stage, for_mini, from_scratch

TABLE_A1 = "Table A1"

# Field of a stage → where the paper prints its value.
PRINTED: Mapping[str, str] = {
    "name": "Sec. 3.2, 3.3",
    "trains": "Table 4, last row",
    "tuning": "Sec. 3.4",
    "lora_rank": TABLE_A1,
    "lora_dropout": TABLE_A1,
    "learning_rate": TABLE_A1,
    "weight_decay": TABLE_A1,
    "adam_beta1": TABLE_A1,
    "adam_beta2": TABLE_A1,
    "warmup_ratio": TABLE_A1,
    "per_device_train_batch_size": f"{TABLE_A1}: 4 on each of 8 GPUs",
    "effective_batch_size": f"{TABLE_A1}: 4 × 8 × 16 accumulated",
    "max_length": TABLE_A1,
    "rounds": "Eq. 1: a round sees all earlier ones",
    "rounds_drawn": "Sec. 4.1: all",
}

# Field of a stage → why we chose the value, where the paper prints none.
CHOSEN: Mapping[str, str] = {
    "lora_alpha": "LLaVA's and xtuner's recipes with r = 128 and dropout 0.05 have 256",
    "earlier_adapter": "xtuner goes on with the adapters it is given; `merge` stacks fresh ones",
    "quantization": "not printed; a public issue of the paper's tool suggests nf4 (recipe `qlora`)",
    "lr_scheduler_type": "xtuner's LLaVA recipes fall by a cosine",
    "max_grad_norm": "xtuner's LLaVA recipes clip at 1",
    "gradient_accumulation_steps": "follows from the effective batch size: 16 on the paper's 8 GPUs",
    "num_train_epochs": "xtuner's LLaVA recipes have one",
    "max_steps": "epochs decide",
    "image_fit": "xtuner pads to a square with the mean colour, as the presets do",
    "bf16": "xtuner mixes float16; bfloat16 needs no loss scaling",
    "gradient_checkpointing": "changes no result; xtuner has it on",
    "seed": "any",
    "save_steps": "changes no result",
    "logging_steps": "changes no result",
    "dataloader_num_workers": "changes no result",
}

# What a recipe has other than the paper's.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "llava-lora": {"learning_rate": 2e-4},
    "qlora": {"quantization": "nf4"},
}
ABOUT: Mapping[str, str] = {
    "paper": "Table A1 to the letter",
    "llava-lora": "the rate of LLaVA's LoRA recipe: at the paper's, 512 conversations a step make 348 small "
    "steps an epoch of Pitts-VQA",
    "qlora": "the paper's, over a language model in four bits",
}

_ALL = ("vision", "projector", "language")
_NO_VISION = ("projector", "language")

# Table 4: what stage 1 and stage 2 train.
TABLE4: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "A": (("projector",), _NO_VISION),
    "B": (("projector",), _ALL),
    "C": (_NO_VISION, _NO_VISION),
    "D": (_NO_VISION, _ALL),
    "E": (_ALL, _NO_VISION),
    "Ours": (_ALL, _ALL),
}


def with_recipe(stage: Stage, name: str) -> Stage:
    """The stage by the recipe of this name; an unknown one is a UsageError with those there are."""
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return replace(stage, **RECIPES[name])


def variant(stage: Stage, letter: str) -> Stage:
    """The stage, alignment or localization, as a row of Table 4 trains it."""
    if letter not in TABLE4:
        raise UsageError(f"Table 4 has no row {letter!r}; it has {', '.join(TABLE4)}")
    first, second = TABLE4[letter]
    return replace(stage, trains=first if stage.name == "alignment" else second)


def source(field: str) -> str:
    """Where the value of a stage's field comes from, in words; ours are marked so."""
    return PRINTED[field] if field in PRINTED else f"**our choice**: {CHOSEN[field]}"


PAGE = """\
# Recipes

This page is made by `python -m addressvlm.training.recipes > docs/recipes.md` from the values that the code
uses. What the paper does not print is marked as our choice, with its reason.

## The model (`llava-phi3-mini`)

{model}

## A stage of training

Both stages have the same values. `--recipe paper` takes them for any base; without it, small models get
others, below.

{stage}

## Small models

Without `--recipe`, `--base mini` (and every run from it) and models of random weights take these instead,
chosen on made-up cities:

{small}

## Other recipes

{recipes}

## Table 4: which parts are trained

{table4}

The projector is trained whole, the towers by adapters. `addressvlm train align … --trains projector` and
`addressvlm train localize … --trains projector,language` are row A.
"""


def page() -> str:
    """docs/recipes.md."""
    from addressvlm.training.modelfacts import model_facts

    stage = [(f"`{f.name}`", _value(LOCALIZATION, f.name), source(f.name)) for f in fields(Stage)]
    recipes = [
        (f"`{name}`", _settings(changed) or "as above", ABOUT[name]) for name, changed in RECIPES.items()
    ]
    table4 = [(row, *(f"`{','.join(parts)}`" for parts in stages)) for row, stages in TABLE4.items()]
    return PAGE.format(
        model=_table(("what", "value", "source"), model_facts()),
        stage=_table(("field", "value", "source"), stage[1:]),
        small=_table(("field", "`mini`", "`random:PRESET`"), _small()),
        recipes=_table(("recipe", "differs in", "why"), recipes),
        table4=_table(("row", "stage 1 trains", "stage 2 trains"), table4),
    )


def _small() -> list[tuple[str, ...]]:
    """What the stages for small models have other than the paper's, field by field."""
    rows = []
    for field in (f.name for f in fields(Stage) if f.name != "name"):
        printed = getattr(LOCALIZATION, field)
        stages = [for_mini(LOCALIZATION), from_scratch(LOCALIZATION)]
        if any(getattr(stage, field) != printed for stage in stages):
            rows.append((f"`{field}`", *(_value(stage, field) for stage in stages)))
    first = for_mini(ALIGNMENT).num_train_epochs
    return [*rows, ("`num_train_epochs` of stage 1", f"`{first}`", _value(stages[1], "num_train_epochs"))]


def _value(stage: Stage, field: str) -> str:
    value = getattr(stage, field)
    if value is None:
        return ""
    return f"`{','.join(value)}`" if isinstance(value, tuple) else f"`{value}`"


def _settings(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"`{field}` = `{value}`" for field, value in changed.items())


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(page(), end="")
