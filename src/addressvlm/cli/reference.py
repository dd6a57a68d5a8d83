"""docs/commands.md: the help of every command. `python -m addressvlm.cli.reference > docs/commands.md`."""

from collections.abc import Iterator
from typing import Any

import typer
import typer.main

from addressvlm.cli.main import app

INTRODUCTION = """# Commands

Results go to stdout (`--json`: the same value for machines), progress to stderr.
Exit codes: 0 ok, 2 usage, 3 bad input, 4 interrupted and resumable, 1 anything else.
This page is made by `python -m addressvlm.cli.reference > docs/commands.md`.
"""


def commands(group: Any, path: tuple[str, ...] = ("addressvlm",)) -> Iterator[tuple[str, Any]]:
    """Every command below a group with its full name, in the order of definition."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def reference() -> str:
    """The page as Markdown."""
    group = typer.main.get_command(app)
    parts = [INTRODUCTION, _section("addressvlm", group)]
    for name, command in commands(group):
        parts.append(_section(name, command))
    return "\n".join(parts)


def _section(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    return f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n"


if __name__ == "__main__":
    print(reference(), end="")
