"""`addressvlm export`: what was made here, for the programs of others."""

from pathlib import Path
from typing import Annotated

import typer

from addressvlm.cli.options import AsJson, print_result


def export(
    folder: Annotated[Path, typer.Argument(help="A data set folder, or a run folder.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The folder to write. For a data set, the same command continues it; for a run, it must be "
            "new."
        ),
    ],
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of a data set: llava, sharegpt, imagefolder, parquet, webdataset, lmms-eval or vlmevalkit. "
            "Of a run: adapter (for peft, beside the base model) or merged (all weights, for "
            "Transformers and vLLM). [default: of a run, merged]",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Precision of merged weights: bfloat16, float16 or float32.")
    ] = "bfloat16",
    as_json: AsJson = False,
) -> None:
    """Write a data set or a trained model in a format of others, with a card.

    The pictures of a data set lose all but their pixels and, as a comment, the attribution.
    """
    from addressvlm.folders import CONFIG, read_json

    if (folder / CONFIG).is_file() and read_json(folder / CONFIG).get("step") == "run":
        from addressvlm.model.exporting import export_run

        print_result(export_run(folder, out, format_name or "merged", dtype=dtype), as_json)
        return
    from addressvlm.dataset.exporting import export_dataset

    print_result(export_dataset(folder, out, format_name or ""), as_json)
