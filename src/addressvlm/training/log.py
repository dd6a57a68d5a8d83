"""`log.jsonl`, one line a logged step, and its picture."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from addressvlm.errors import AddressVLMError
from addressvlm.folders import write_atomically

LOG = "log.jsonl"
PLOT = "loss.png"


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines written so far; one that a kill has torn is left out."""
    path = run / LOG
    if not path.exists():
        return []
    lines = []
    for line in path.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def cut_log(run: Path, step: int) -> list[dict[str, Any]]:
    """Drop the lines behind `step`, which will be written again; returns the others."""
    kept = [line for line in read_log(run) if line["step"] <= step]
    with write_atomically(run / LOG) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
    return kept


def append_log(run: Path, line: dict[str, Any]) -> None:
    """Add a line at once, so that a running job can be watched."""
    try:
        with (run / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
    except OSError as error:
        raise AddressVLMError(f"cannot write {run / LOG}: {error.strerror or error}") from error


def plot_loss(run: Path) -> None:
    """Draw the logged losses over the steps as `loss.png`."""
    lines = read_log(run)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([line["step"] for line in lines], [line["loss"] for line in lines], linewidth=1.2)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss per answer token")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    with write_atomically(run / PLOT) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
