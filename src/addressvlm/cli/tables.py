"""How results look in a terminal."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from addressvlm.evaluation.metrics import MEANINGS


def metrics_text(result: dict[str, Any]) -> str:
    """The ten metrics beside their intervals and the lines to compare with."""
    table = Table(title=f"{result['photos']} photos of {result['locations']} locations; percent right")
    others = [name for name in ("strict", "chance", "majority", "neighbours") if result.get(name)]
    for column in ("metric", "", "questions", "right", "95 %", *others):
        table.add_column(column, justify="left" if column in ("metric", "") else "right")
    for key, meaning in MEANINGS.items():
        low, high = result["intervals"].get(key) or (None, None)
        table.add_row(
            key,
            meaning.format("district", "street"),
            str(result["counts"].get(f"n_{key}", "")),
            _percent(result["metrics"].get(key)),
            f"{_percent(low)}–{_percent(high)}" if low is not None else "",
            *(_percent(result[other].get(key)) for other in others),
        )
    return _rendered(table)


def answer_text(answer: dict[str, Any]) -> str:
    """An answer, or the histogram of sampled answers."""
    if "streets" not in answer:
        return str(answer["answer"])
    table = Table(title=f"{answer['samples']} answers at temperature {answer['temperature']}")
    table.add_column("street")
    table.add_column("share", justify="right")
    for street in answer["streets"][:10]:
        table.add_row(street["name"], f"{100 * street['share']:.0f} %")
    if answer["none_of_these"]:
        table.add_row("(no street of this city)", f"{100 * answer['none_of_these']:.0f} %")
    written = "".join(f"{name}: {path}\n" for name, path in answer.get("files", {}).items())
    return _rendered(table) + written


def demo_text(summary: dict[str, Any], out: Path) -> str:
    """The metrics of the demo, its times, and where to look."""
    seconds = summary["seconds"]
    times = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    return (
        f"{metrics_text(summary)}\n{sum(seconds.values()):.0f} s in all: {times}\n"
        f"report:  {out / 'evaluation' / 'report.html'}\n"
        f"map:     {out / 'ask' / 'streets.png'}\n"
        f"summary: {out / 'summary.json'}\n"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _rendered(table: Table) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
