"""`addressvlm dataset`: questions, labels and pictures to train and test on."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from addressvlm.cli.fields import options_of
from addressvlm.cli.options import AsJson, Dataset, Out, Page, Workers, WorkersOrRay, print_result
from addressvlm.dataset.options import DatasetOptions

app = typer.Typer(help="Questions, labels and pictures to train and test on.", no_args_is_help=True)


@app.command("build")
@options_of(DatasetOptions)
def build(
    city: Annotated[Path, typer.Argument(help="A city folder made by `city build`.")],
    out: Out,
    workers: WorkersOrRay = None,
    as_json: AsJson = False,
    **fields: Any,
) -> None:
    """Make alignment samples (stage 1), training conversations (stage 2) and test questions."""
    from addressvlm.dataset.build import build_dataset

    print_result(build_dataset(city, out, DatasetOptions(**fields), workers=workers), as_json)


@app.command("shards")
def shards(
    dataset: Dataset,
    base: Annotated[
        str, typer.Option(help="What will be trained: a preset, a model folder, a hub id or a run.")
    ] = "mini",
    stage: Annotated[
        str | None, typer.Option(help="alignment or localization. [default: both]", show_default=False)
    ] = None,
    image_fit: Annotated[
        str | None,
        typer.Option(
            help="How pictures become square: pad, crop or squash. [default: as the base]", show_default=False
        ),
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Cut the training pictures for a base beforehand, so that training decodes none; costs disk."""
    from addressvlm.training.bases import preprocessing_of
    from addressvlm.training.shards import cut_shards

    chosen = preprocessing_of(base, cast("Any", image_fit))
    stages = (stage,) if stage else ("alignment", "localization")
    made = {one: cut_shards(dataset, one, chosen, workers=workers) for one in stages}
    print_result(made, as_json)


@app.command("show")
def show(dataset: Dataset, page: Page = None, as_json: AsJson = False) -> None:
    """Show a data set: a map of its splits, samples of all it holds, leaks, balance, lines of chance."""
    from addressvlm.inspection.datasetpage import show_dataset

    print_result(show_dataset(dataset, page), as_json)
