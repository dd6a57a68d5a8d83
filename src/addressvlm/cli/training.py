"""`addressvlm train`: the two stages of the paper, and the base of the mini models."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from addressvlm.cli.fields import options_of
from addressvlm.cli.options import AsJson, Dataset, Out, Workers, print_result, told
from addressvlm.dataset.options import SceneOptions
from addressvlm.training.stages import EVERYTHING, FURTHER, READING, SEEING, SPEAKING, SPELLING, Stage

app = typer.Typer(help="The two stages of the paper, and the base of the mini models.", no_args_is_help=True)

Base = Annotated[
    str,
    typer.Option(
        help="A preset (mini, llava-phi3-mini), random:PRESET, a model folder, a downloaded hub id or an "
        "earlier run. Small models have other defaults than the paper's, which are below (docs/recipes.md)."
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="The defaults of all fields: paper, llava-lora or qlora (docs/recipes.md). [default: what suits "
        "the base]",
        show_default=False,
    ),
]


@app.command("pretrain")
def pretrain(
    context: typer.Context,
    out: Out,
    preset: Annotated[str, typer.Option(help="The base to make: mini or mini-siglip.")] = "mini",
    start: Annotated[
        str | None,
        typer.Option(
            help="Train this base further (preset, model or run folder): everything at once, nothing before.",
            show_default=False,
        ),
    ] = None,
    cities: Annotated[int, typer.Option(help="Mini cities to learn from.")] = SceneOptions.cities,
    first_city: Annotated[int, typer.Option(help="Seed of the first of them.")] = SceneOptions.first_seed,
    reading_epochs: Annotated[
        float, typer.Option(help="Times the vision tower reads every page.")
    ] = READING.num_train_epochs,
    spelling_epochs: Annotated[
        float, typer.Option(help="Times the language model spells every page.")
    ] = SPELLING.num_train_epochs,
    seeing_epochs: Annotated[
        float, typer.Option(help="Times the vision tower sees every scene.")
    ] = SEEING.num_train_epochs,
    speaking_epochs: Annotated[
        float, typer.Option(help="Times the language model is asked about every scene.")
    ] = SPEAKING.num_train_epochs,
    everything_epochs: Annotated[
        float, typer.Option(help="Times the whole model is.")
    ] = EVERYTHING.num_train_epochs,
    further_epochs: Annotated[
        float, typer.Option(help="Times the whole model is after --start.")
    ] = FURTHER.num_train_epochs,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and questions.")] = 0,
    ship: Annotated[
        Path | None,
        typer.Option(help="Also write the weights in bfloat16 with a model card into this folder."),
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Make the base of a mini preset, or train one further: render cities, let it learn, examine it."""
    from addressvlm.experiments.pretraining import PretrainingPlan, run_pretraining

    plan = PretrainingPlan(
        preset=preset,
        start=start,
        scenes=SceneOptions(first_seed=first_city, cities=cities),
        reading=dataclasses.replace(READING, num_train_epochs=reading_epochs),
        spelling=dataclasses.replace(SPELLING, num_train_epochs=spelling_epochs),
        seeing=dataclasses.replace(SEEING, num_train_epochs=seeing_epochs),
        speaking=dataclasses.replace(SPEAKING, num_train_epochs=speaking_epochs),
        everything=dataclasses.replace(EVERYTHING, num_train_epochs=everything_epochs),
        further=dataclasses.replace(FURTHER, num_train_epochs=further_epochs),
    )
    if ship is not None:
        from addressvlm.experiments.shipping import require_room

        require_room(ship)  # before hours of training
    summary = run_pretraining(out, seed=seed, workers=workers, plan=plan)
    if ship is not None:
        from addressvlm.experiments.shipping import ship as ship_base

        ship_base(out, ship, told(context))
    print_result(summary, as_json)


@app.command("align")
@options_of(Stage, skip=("name",))
def align(
    dataset: Dataset,
    out: Out,
    base: Base = "mini",
    recipe: Recipe = None,
    as_json: AsJson = False,
    **fields: Any,
) -> None:
    """Stage 1: cross-view alignment tuning on grafted pictures."""
    from addressvlm.training.stages import ALIGNMENT

    _train(ALIGNMENT, dataset, base, recipe, out, as_json, fields)


@app.command("localize")
@options_of(Stage, skip=("name",))
def localize(
    dataset: Dataset,
    out: Out,
    base: Base = "mini",
    recipe: Recipe = None,
    as_json: AsJson = False,
    **fields: Any,
) -> None:
    """Stage 2: address localization tuning on street views."""
    from addressvlm.training.stages import LOCALIZATION

    _train(LOCALIZATION, dataset, base, recipe, out, as_json, fields)


def _train(
    stage: Stage,
    dataset: Path,
    base: str,
    recipe: str | None,
    out: Path,
    as_json: bool,
    fields: dict[str, Any],
) -> None:
    from addressvlm.training.bases import suited
    from addressvlm.training.recipes import with_recipe
    from addressvlm.training.train import train

    chosen = with_recipe(stage, recipe) if recipe else suited(stage, base)
    print_result(train(dataclasses.replace(chosen, **fields), dataset, base, out), as_json)
