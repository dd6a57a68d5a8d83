"""What the commands share: options of one name and meaning everywhere, and how a result is printed."""

import json
import shlex
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


_DECIDES_NOTHING = ("out", "as_json")


def told(context: typer.Context) -> str:
    """The command line as far as it decides a result, for the result to say.

    It can be pasted into a shell. Of paths outside of the working directory only the name is told.
    """
    words = [context.command_path]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params[str(parameter.name)]
        source = context.get_parameter_source(name)
        if name in _DECIDES_NOTHING or source is None or source.name != "COMMANDLINE":
            continue
        path = Path(str(value))
        if isinstance(value, Path | str) and (path.is_absolute() or ".." in path.parts):
            value = path.name
        if parameter.param_type_name == "option":
            words.append(parameter.opts[0])
        if value is not True:
            words.append(shlex.quote(str(value)))
    return " ".join(words)


def print_result(value: dict[str, Any], as_json: bool) -> None:
    """Print a summary a key a line, digests left out; or all of it as JSON."""
    if as_json:
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    for key, item in value.items():
        if not key.startswith("sha256"):
            print(f"{key}: {json.dumps(item, ensure_ascii=False) if isinstance(item, dict | list) else item}")
