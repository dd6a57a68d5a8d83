"""`addressvlm export`: what was made here, for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from addressvlm.cli.options import AsJson, Out, print_result
from addressvlm.errors import UsageError


def export(
    folder: Annotated[Path, typer.Argument(help="A data set folder made by `dataset build`.")],
    format_name: Annotated[
        str,
        typer.Option(
            "--format", help="llava, sharegpt, imagefolder, parquet, webdataset, lmms-eval or vlmevalkit."
        ),
    ],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Write a data set in the format of another tool, with a card; pictures lose all but their pixels."""
    from addressvlm.dataset.exporting import export_dataset
    from addressvlm.folders import CONFIG, read_json

    if (folder / CONFIG).is_file() and read_json(folder / CONFIG).get("step") == "run":
        raise UsageError(f"{folder} is a run; only data sets can be exported so far")
    print_result(export_dataset(folder, out, format_name), as_json)
