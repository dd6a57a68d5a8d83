"""A pre-trained base as it comes with the package: bfloat16 weights, curves, and a card."""

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.experiments.pretraining import BASE, BEFORE, CARD, CURVES, ONE_MORE, RUNS
from addressvlm.experiments.results import made
from addressvlm.folders import SUMMARY, read_json, require_complete, write_json
from addressvlm.model.backbone import load_backbone, save_backbone
from addressvlm.model.checkpoints import MANIFEST, digests
from addressvlm.training.log import read_log

Floats = npt.NDArray[np.float64]

MOST_BYTES = 16_000_000
_PARTS = (
    *("letters", "tokens", "surfaces", "ground", "places", "owners", "owned", "cells", "middles"),
    *("roads", "above", "quarters", "attributes"),
)

CARD_TEXT = """\
# The base of the preset `{preset}`

A LLaVA-style model of {millions:.1f} million weights ({megabytes:.1f} MB in bfloat16) that sees and reads
in the world of the mini cities. It knows no address: tune it on a city. It is for learning, tests and
controlled experiments; photos of the real world are nothing to it.

{lines}
- **Made** {date} on {machine}, commit {commit}, by `{command}`.

![losses](curves.png)

## What it can do

Percent of exactly right answers on scenes of {exam_cities} other cities (`mini:{exam_first}` on), greedy.
*Most frequent answer* is what a constant answer gets, *chance* a guess among the names on each map, *nearest
name* the one nearest to the middle of the map, without a look at the photo.

{table}
"""
_DATA = """\
**Data**: {scenes} street views of {cities} made-up cities, `mini:{first}` to `mini:{last}`, each with a map
of its own whose street names were invented for it. `mini-pitts`, `mini-sf` and `mini-tokyo` are not among
them, and no name of their streets stood on a map."""
_BEGAN = "**Before that**: it began as [another base]({before}/README.md), made from other cities."
_DRAWN = """\
**Embeddings** of the {tokens} tokens that no lesson asks for were drawn anew behind that, so that
tuning can tell them apart."""
_TOLD = {
    "reader": "The tower alone learns letters: {steps} steps, every page {epochs:g} times, "
    "{minutes:.0f} minutes;",
    "tower": "then to see: {steps} steps, every scene about {epochs:g} times, {minutes:.0f} minutes.",
    "speller": "The language model learns to spell in front of the tower that reads: {steps} steps, "
    "every page {epochs:g} times, {minutes:.0f} minutes;",
    "speech": "and to speak in front of the one that sees: {steps} steps, every scene {epochs:g} times, "
    "{minutes:.0f} minutes.",
    "model": "Everything: {steps} steps, every scene {epochs:g} times, {minutes:.0f} minutes; {precision}.",
}


def ship(pretraining: Path, folder: Path, command: str) -> Path:
    """Write the base of a complete pre-training into `folder`, with its card.

    Returns the folder. Raises UsageError for a folder that holds other things (`require_room`), and
    AddressVLMError where the weights are larger than a package should carry.
    """
    require_room(folder)
    summary = require_complete(pretraining)
    origin = made(summary, command)  # before the folder itself is a change of the code
    size = sum(path.stat().st_size for path in (pretraining / BASE).glob("*.safetensors"))
    if size > MOST_BYTES:
        raise AddressVLMError(
            f"the weights have {size / 1e6:.1f} MB; a package carries {MOST_BYTES / 1e6:.0f}"
        )
    backbone = load_backbone(pretraining / BASE, dtype=torch.bfloat16)
    save_backbone(backbone, folder)
    parameters = sum(weight.numel() for weight in backbone.model.parameters())
    draw_curves(pretraining, folder / CURVES)
    card = _card(pretraining, summary, parameters, size, origin)
    (folder / CARD).write_text(card, "utf-8")
    if (pretraining / BEFORE).is_dir():
        shutil.copytree(pretraining / BEFORE, folder / BEFORE)
    write_json(folder / MANIFEST, {"files": digests(folder)})
    return folder


def require_room(folder: Path) -> None:
    """Refuse a folder to ship into that holds anything but an earlier base, which would be replaced."""
    if folder.exists() and not (
        folder.is_dir() and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))
    ):
        raise UsageError(f"{folder} holds other things than a base; choose a new folder to ship into")


def draw_curves(pretraining: Path, path: Path) -> None:
    """The losses of all runs over time, each a mean over a fiftieth of its run."""
    logs = {name: read_log(pretraining / name) for name in RUNS if (pretraining / name).is_dir()}
    eyes = {"reader": ("the tower reads", _PARTS[:2]), "tower": ("the tower sees", _PARTS)}
    if "tower" not in logs:  # a base trained further: what its tower learned beside
        eyes = {"model": ("the tower goes on", _PARTS)}
    figure = Figure(figsize=(4 * len(eyes) + 4, 3.2), layout="constrained")
    *panels, right = figure.subplots(1, len(eyes) + 1)
    for panel, (name, (title, parts)) in zip(panels, eyes.items(), strict=True):
        panel.set_prop_cycle(color=colormaps["tab20"](range(len(_PARTS))))  # the usual ten repeat
        for part in (part for part in parts if part in logs[name][0]):
            panel.plot(*_smooth(logs[name], part), label=part, linewidth=1)
        panel.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
        panel.set(title=title, xlabel="minutes", ylabel="weighted loss", yscale="log")
    begun = 0.0
    for name, told in (("speller", "it spells"), ("speech", "it speaks"), ("model", "everything")):
        if name in logs:
            minutes, losses = _smooth(logs[name], "loss")
            right.plot(begun + minutes, losses, label=told, linewidth=1)
            begun += minutes[-1]
    right.legend(fontsize=7)
    right.set(title="the model speaks", xlabel="minutes", ylabel="loss", yscale="log")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _smooth(lines: Sequence[Mapping[str, Any]], part: str) -> tuple[Floats, Floats]:
    """Minutes and means of a part of the loss."""
    some = np.array_split(np.array([(line["seconds"] / 60, line[part]) for line in lines]), 50)
    minutes, means = np.array([window.mean(axis=0) for window in some if len(window)]).T
    return minutes, means


def exam_table(exam: dict[str, Any]) -> str:
    """The marks of an exam as Markdown."""
    columns = ("right", "most_frequent", "chance", "nearest")
    rows = [
        "| task | asked | right % | most frequent answer % | chance % | nearest name % |",
        "|---|---|---|---|---|---|",
    ]
    for task, mark in exam.items():
        cells = [f"{mark[column]:.1f}" if column in mark else "" for column in columns]
        rows.append(f"| {task} | {mark['asked']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _card(
    pretraining: Path, summary: dict[str, Any], parameters: int, size: int, origin: dict[str, str]
) -> str:
    config = read_json(pretraining / "config.json")
    scenes, exam = config["scenes"], config["exam"]
    runs = RUNS if len(summary["steps"]) == len(RUNS) else ONE_MORE
    told = []
    for name, sentence in _TOLD.items():
        if name in runs:
            told.append(
                sentence.format(
                    steps=summary["steps"][name],
                    epochs=config[runs[name].stage]["num_train_epochs"],
                    minutes=read_log(pretraining / name)[-1]["seconds"] / 60,
                    precision=read_json(pretraining / name / SUMMARY)["precision"],
                )
            )
    lines = [
        _DATA.format(
            scenes=summary["scenes"]["scenes"],
            cities=scenes["cities"],
            first=scenes["first_seed"],
            last=scenes["first_seed"] + scenes["cities"] - 1,
        ),
        f"**Training**: seed {summary['seed']}. {' '.join(told)}",
        _DRAWN.format(tokens=summary["drawn"]),
        *([_BEGAN.format(before=BEFORE)] if (pretraining / BEFORE).is_dir() else []),
    ]
    return CARD_TEXT.format(
        **origin,
        lines="\n".join(textwrap.fill(f"- {line}", 110, subsequent_indent="  ") for line in lines),
        preset=summary["preset"],
        millions=parameters / 1e6,
        megabytes=size / 1e6,
        exam_cities=exam["cities"],
        exam_first=exam["first_seed"],
        table=exam_table(summary["exam"]),
    )
