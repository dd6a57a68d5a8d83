"""What the commands share: options of one name and meaning everywhere, and how a result is printed."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from addressvlm.errors import UsageError


def workers_of(text: str) -> int | str:
    """A number of processes, or `ray`."""
    if text == "ray":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"--workers is {text!r}; give a number of processes, or ray")


AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Out = Annotated[Path, typer.Option(help="The folder to write; the same command continues it.")]
Workers = Annotated[
    int | None, typer.Option(help="Processes to use. [default: all cores]", show_default=False)
]
WorkersOrRay = Annotated[
    Any,
    typer.Option(
        "--workers",
        parser=workers_of,
        metavar="N|ray",
        help="Processes to use, or `ray`: the Ray cluster that RAY_ADDRESS names. [default: all cores]",
        show_default=False,
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(help="The page to write. [default: show.html in the folder]", show_default=False),
]
Run = Annotated[Path, typer.Option(help="A run folder made by `train`.")]
Dataset = Annotated[Path, typer.Argument(help="A data set folder made by `dataset build`.")]


def told(command: str, **options: object) -> str:
    """The command line with the options that were given, for a result to say; of a path its name alone."""
    words = [f"addressvlm {command}"]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words.append(f"{flag} {value.name if isinstance(value, Path) else value}")
    return " ".join(words)


def print_result(value: dict[str, Any], as_json: bool) -> None:
    """Print a summary a key a line, digests left out; or all of it as JSON."""
    if as_json:
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    for key, item in value.items():
        if not key.startswith("sha256"):
            print(f"{key}: {json.dumps(item, ensure_ascii=False) if isinstance(item, dict | list) else item}")
