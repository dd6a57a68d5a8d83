"""`addressvlm export`: what was made here, for the programs of others."""

from pathlib import Path
from typing import Annotated

import typer

from addressvlm.cli.options import AsJson, print_result


def export(
    folder: Annotated[Path, typer.Argument(help="A run folder made by `train`.")],
    out: Annotated[Path, typer.Option(help="The folder to write; a new one.")],
    format: Annotated[  # noqa: A002  # the option's name
        str,
        typer.Option(
            help="adapter: for peft, beside the base model; merged: all weights, for Transformers and vLLM."
        ),
    ] = "merged",
    dtype: Annotated[
        str, typer.Option(help="Precision of merged weights: bfloat16, float16 or float32.")
    ] = "bfloat16",
    as_json: AsJson = False,
) -> None:
    """Write a trained model in a format of others, with a model card."""
    from addressvlm.model.exporting import export_run

    print_result(export_run(folder, out, format, dtype=dtype), as_json)
