"""What a result says of the command that made it."""

from pathlib import Path
from typing import Annotated

import pytest
import typer

from addressvlm.cli.options import told

app = typer.Typer(add_completion=False)


@app.command("bench")
def bench(
    context: typer.Context,
    city: Annotated[Path, typer.Argument()],
    out: Annotated[Path, typer.Option()] = Path("runs/bench"),
    image_px: Annotated[int, typer.Option()] = 336,
    base: Annotated[str, typer.Option()] = "mini",
    quick: Annotated[bool, typer.Option("--quick")] = False,
    results: Annotated[Path | None, typer.Option()] = None,
) -> None:
    print(told(context))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["runs/city"], "runs/city"),
        (["/home/me/city", "--quick"], "city --quick"),
        (["../city", "--image-px", "144", "--out", "/tmp/x"], "city --image-px 144"),
        (["city", "--base", "/home/me/my run"], "city --base 'my run'"),
        (
            ["city", "--image-px", "336", "--results", "results/x.json"],
            "city --image-px 336 --results results/x.json",
        ),
    ],
)
def test_a_command_is_told_as_far_as_it_decides_the_result(
    given: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app(given, prog_name="addressvlm bench", standalone_mode=False)
    assert capsys.readouterr().out == f"addressvlm bench {words}\n"
