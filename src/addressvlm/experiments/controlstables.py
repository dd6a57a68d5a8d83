"""The figures of the controls as files for people: Markdown and a plot."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from addressvlm.experiments.controls import BOTH, BOTH_PLATEAU, STAGE_2, ZERO_SHOT
from addressvlm.experiments.results import MEASURED, made, with_interval
from addressvlm.folders import read_json, write_json

_SHOWN = ("s_G", "d_G", "mean", "sd")
_ABOUT = """\
{photos} photos of {locations} places not seen in training; percent right, with 95 % intervals by location. \
Those are of these trainings; how far others may lie from them, their seeds tell.
"""
_ABOUT_ALIGNED = """\
After stage 1 of *{arm}*, asked about its own training pictures, the model names the right street \
first in {own:.1f} % of them. With the photo of another street on the same map it names the street of the \
map in {map:.1f} %, that of the photo in {photo:.1f} %.
"""


def publish_controls(result: Mapping[str, Any], folder: Path, command: str) -> dict[str, Any]:
    """Write the result as `controls.json`, with its table and its plot beside it; returns what is written.

    Cities take hours. So those that the file has already stay in it, if they were measured by the same plan
    with the same arms on the same base; every city says when and how it was made.
    """
    path = folder / "controls.json"
    folder.mkdir(parents=True, exist_ok=True)
    # As JSON has it, which knows no tuples.
    plan = json.loads(json.dumps({key: value for key, value in result["plan"].items() if key != "cities"}))
    earlier = read_json(path) if path.exists() else {}
    alike = earlier.get("plan") == plan and earlier.get("weights") == result["weights"]
    arms = {tuple(found["arms"]) for found in result["cities"].values()}
    cities = {
        city: found
        for city, found in earlier.get("cities", {}).items()
        if alike and {tuple(found["arms"])} == arms
    }
    about = {**result["environment"], MEASURED: result[MEASURED]}
    how = {"made": made(about, command), "environment": result["environment"]}
    cities |= {city: {**how, **found} for city, found in result["cities"].items()}
    published = {"plan": plan, "weights": result["weights"], "cities": cities}
    write_json(path, published)
    (folder / "controls.md").write_text(controls_table(published), "utf-8")
    draw_controls(published, folder / "controls.png")
    return published


def controls_table(result: Mapping[str, Any]) -> str:
    """The figures of the controls as Markdown, a table a city."""
    parts = []
    for city, found in result["cities"].items():
        parts.append(f"## {city}\n\n{_ABOUT.format(**found)}")
        parts += [_ABOUT_ALIGNED.format(arm=arm, **figures) for arm, figures in found["aligned"].items()]
        rows = ["| | " + " | ".join(f"`{name}`" for name in _SHOWN) + " | `sd` of each seed |"]
        rows.append("|---|" + "---|" * (len(_SHOWN) + 1))
        for line in ("chance", "neighbours", "classifier"):
            rows.append(f"| {line} | " + " | ".join(f"{found[line][name]:.1f}" for name in _SHOWN) + " | |")
        for arm, figures in found["arms"].items():
            cells = [_cell(figures, name) for name in _SHOWN]
            seeds = ", ".join(f"{seed['sd']:.1f}" for seed in figures["seeds"])
            rows.append(f"| {arm} | " + " | ".join(cells) + f" | {seeds} |")
        parts.append("\n".join(rows) + "\n")
        rows = ["| difference | " + " | ".join(f"`{name}`" for name in _SHOWN) + " | `sd` of each seed |"]
        rows.append("|---|" + "---|" * (len(_SHOWN) + 1))
        for name, figures in found["differences"].items():
            cells = [_cell(figures, key, "+") for key in _SHOWN]
            pairs = zip(*(found["arms"][arm]["seeds"] for arm in name.split(" - ")), strict=True)
            seeds = ", ".join(f"{one['sd'] - other['sd']:+.1f}" for one, other in pairs)
            rows.append(f"| {name} | " + " | ".join(cells) + f" | {seeds} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def controls_overview(path: Path) -> str:
    """A few figures of a published controls.json as Markdown, a row an arm: the table of docs/method.md."""
    cities = read_json(path)["cities"]
    head = [f"`{city}`: `s_G` | `d_G` | `sd` | each seed, and minus stage 2" for city in cities]
    rows = ["| arm | " + " | ".join(head) + " |", "|---|" + "---|---|---|---|" * len(cities)]
    for arm in next(iter(cities.values()))["arms"]:
        cells = [arm]
        for found in cities.values():
            figures, alone = found["arms"][arm], found["arms"][STAGE_2]["seeds"]
            cells += [f"{figures['mean'][name]:.1f}" for name in ("s_G", "d_G", "sd")]
            seeds = [seed["sd"] for seed in figures["seeds"]]
            told = ", ".join(f"{seed:.1f}" for seed in seeds)
            if arm not in (ZERO_SHOT, STAGE_2):
                gaps = (seed - other["sd"] for seed, other in zip(seeds, alone, strict=True))
                told += " (" + ", ".join(f"{gap:+.1f}" for gap in gaps) + ")"
            cells.append(told)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(figures: Mapping[str, Any], name: str, sign: str = "") -> str:
    return with_interval(figures["mean"][name], figures["interval"][name], sign)


def draw_controls(result: Mapping[str, Any], path: Path) -> None:
    """`sd` of every arm with its interval and its seeds, a panel a city."""
    cities = result["cities"]
    figure = Figure(figsize=(5.2 * len(cities), 3.8), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(cities), sharex=True, sharey=True))
    names = list(dict.fromkeys(arm for found in cities.values() for arm in found["arms"]))
    for axes, (city, found) in zip(panels, cities.items(), strict=True):
        for arm, figures in found["arms"].items():
            place = names.index(arm)
            low, high = figures["interval"]["sd"]
            colour = "#b5523b" if arm in (BOTH, BOTH_PLATEAU) else "#4a6d8c"
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot(figures["mean"]["sd"], place, "o", color=colour)
            seeds = [seed["sd"] for seed in figures["seeds"]]
            axes.plot(seeds, [place] * len(seeds), "|", color="black", markersize=7)
        for line, style in (("neighbours", ":"), ("classifier", "--")):
            axes.axvline(found[line]["sd"], color="grey", linestyle=style, linewidth=1, label=line)
        axes.set(title=city, xlabel="street and district right, %")
        axes.legend(fontsize=7)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()  # of all panels, which share it
    figure.savefig(path, dpi=130, metadata={"Software": None})
