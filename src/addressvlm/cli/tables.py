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
    lines = {
        name: result[name] for name in ("strict", "chance", "majority", "neighbours") if result.get(name)
    }
    lines = {**result.get("constrained", {}), **lines}
    for column in ("metric", "", "questions", "right", "95 %", *lines):
        table.add_column(column, justify="left" if column in ("metric", "") else "right")
    for key, meaning in MEANINGS.items():
        low, high = result["intervals"].get(key) or (None, None)
        table.add_row(
            key,
            meaning.format("district", "street"),
            str(result["counts"].get(f"n_{key}", "")),
            _percent(result["metrics"].get(key)),
            f"{_percent(low)}–{_percent(high)}" if low is not None else "",
            *(_percent(line.get(key)) for line in lines.values()),
        )
    return _rendered(table)


def located_text(located: dict[str, Any]) -> str:
    """Where photos were taken: the answer, the ranked names, a set, samples, files."""
    calibrated = "calibrated" if located["calibrated"] else "not calibrated"
    parts = [f"{located['in_words']}\n"]
    for level in ("streets", "districts"):
        table = Table(title=f"{level}, {calibrated}")
        table.add_column(level[:-1])
        table.add_column("probability", justify="right")
        for row in located[level]:
            table.add_row(row["name"], f"{100 * row['probability']:.1f} %")
        parts.append(_rendered(table))
    parts.append(f"no address of this city: {100 * located['none_of_these']:.1f} %\n")
    if "set" in located:
        names = ", ".join(located["set"]["streets"])
        parts.append(f"with {100 * located['set']['coverage']:g} % coverage: {names}\n")
    if "samples" in located:
        parts.append(_samples_text(located["samples"]))
    parts += [f"{name}: {path}\n" for name, path in located.get("files", {}).items()]
    return "".join(parts)


def _samples_text(samples: dict[str, Any]) -> str:
    table = Table(title=f"{samples['answers']} answers at temperature {samples['temperature']}")
    table.add_column("street")
    for column in ("answers", "expected"):
        table.add_column(column, justify="right")
    rows = [(row["name"], row["share"], row["expected"]) for row in samples["streets"][:10]]
    nowhere = samples["none_of_these"]
    for name, share, expected in [*rows, ("(no street of this city)", nowhere["share"], nowhere["expected"])]:
        table.add_row(name, f"{100 * share:.0f} %", f"{100 * expected:.1f} %")
    return _rendered(table)


def demo_text(summary: dict[str, Any], out: Path) -> str:
    """The metrics of the demo, its times, and where to look."""
    seconds = summary["seconds"]
    times = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    return (
        f"{metrics_text(summary)}\n{sum(seconds.values()):.0f} s in all: {times}\n"
        f"report:  {out / 'evaluation' / 'report.html'}\n"
        f"map:     {out / 'locate' / 'locate.html'}\n"
        f"summary: {out / 'summary.json'}\n"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _rendered(table: Table) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
