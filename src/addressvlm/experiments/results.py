"""Figures that README and docs may quote: files under `results/` that a command wrote, and their tables."""

import datetime
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from addressvlm.evaluation.metrics import METRICS
from addressvlm.folders import read_json, write_json

MEASURED = "measured"
LINES = {
    "metrics": "mini model, both stages",
    "constrained.joint": "the same, all answers of a photo from one belief",
    "classifier": "small CNN",
    "neighbours": "nearest photo",
    "majority": "most frequent answer",
    "chance": "chance",
}
CLASSIFIER = "*Small CNN* is trained on the same street views and nothing else."
DEMO = """\
{photos} photos of {locations} places of `{city}`, a made-up city, not seen in training; percent right
(seed {seed}; `d` district, `s` street, `sd` both; `G` generation, `J` judgment, `M` multiple choice):

{table}

Both stages keep the vision tower of the mini model frozen (row C of the paper's Table 4). {notes}
*Nearest photo* gives the address of the training photo with the most similar colours. The whole road took
{total_s} s after installation ({machine}; {date}, commit {commit}; `{command}` wrote
[`results/demo.json`](results/demo.json)).
"""


def with_interval(mean: float, interval: Sequence[float], sign: str = "") -> str:
    """A figure with its 95 % interval, as tables have it; with `sign` "+" a difference."""
    low, high = interval
    return f"{mean:{sign}.1f} ({low:{sign}.1f} … {high:{sign}.1f})"


def publish(summary: Mapping[str, Any], path: Path, command: str) -> None:
    """Write a result with when, from which commit, on which machine and by which command it was made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rest = {key: value for key, value in summary.items() if key != MEASURED}
    write_json(path, {"made": made(summary, command), **rest})


def made(summary: Mapping[str, Any], command: str) -> dict[str, str]:
    """When, from which commit, on which machine and by which command a result is made.

    A result that was measured earlier, and published now, says so itself (`measured`).
    """
    return {
        **summary.get(MEASURED, measured()),
        "machine": _machine(summary),
        "command": command,
    }


def measured() -> dict[str, str]:
    """Today's date and the commit of the code, for the summary of a measurement, as `MEASURED`."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD")
        + ("+changes" if _git("status", "--porcelain") else ""),
    }


def demo_table(path: Path) -> str:
    """The demo's metrics as Markdown, for the README."""
    result = read_json(path)
    rows = ["| | " + " | ".join(f"`{key}`" for key in METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for line, name in LINES.items():
        figures = result
        for key in line.split("."):  # where the figures stand in the result
            figures = figures.get(key, {})
        if figures:
            rows.append(f"| {name} | " + " | ".join(f"{figures[key]:.1f}" for key in METRICS) + " |")
    total_s = f"{sum(result['seconds'].values()):.0f}"
    notes = CLASSIFIER if "classifier" in result else ""
    return DEMO.format(table="\n".join(rows), total_s=total_s, notes=notes, **result["made"], **result)


def _git(*arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run([git, *arguments], capture_output=True, text=True, check=False)  # noqa: S603  # fixed words
    return done.stdout.strip()


def _machine(summary: Mapping[str, Any]) -> str:
    """The machine, so far as the summary of a result and this computer say."""
    bfloat16 = {True: ", bfloat16", False: ", no bfloat16"}.get(summary.get("bfloat16", ""), "")
    return f"{_processor()}, {summary.get('cores', '?')} cores{bfloat16}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
