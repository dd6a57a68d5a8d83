"""The figures about beliefs as files for people: Markdown and plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from addressvlm.experiments.results import publish, with_interval
from addressvlm.folders import read_json, write_atomically


def publish_beliefs(result: Mapping[str, Any], folder: Path, command: str) -> None:
    """Write beliefs.json, beliefs.md and beliefs.png into a folder."""
    publish(dict(result), folder / "beliefs.json", command)
    with write_atomically(folder / "beliefs.md") as temporary:
        temporary.write_text(beliefs_table(result), "utf-8")
    draw_beliefs(result, folder / "beliefs.png")


def beliefs_table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown, city by city."""
    return "\n".join(_city_table(city, found) for city, found in result["cities"].items())


def beliefs_overview(path: Path) -> str:
    """Some figures of a published beliefs.json as Markdown, a column a city: the table of docs/method.md."""
    cities = read_json(path)["cities"]
    rows = {
        f"one photo, {way}": [_answered(found, way) for found in cities.values()]
        for way in next(iter(cities.values()))["intervals"]
    }
    for name in next(iter(cities.values()))["beliefs"]:
        shown = "one photo, its belief" if name == "one photo" else name
        rows[shown] = [_cell(found["beliefs"][name]["sd"]) for found in cities.values()]
    rows["calibration error of streets, before and after"] = [
        " → ".join(f"{found['calibration'][when]['ece']:.1f}" for when in ("before", "after"))
        for found in cities.values()
    ]
    for coverage in next(iter(cities.values()))["coverage"]:
        rows[f"sets of streets that promise {coverage}: coverage, mean size"] = [
            f"{_cell(found['coverage'][coverage]['held'])}, {found['coverage'][coverage]['mean_size']:.1f}"
            for found in cities.values()
        ]
    head = ["| district and street right, % | " + " | ".join(cities) + " |", "|---|" + "---|" * len(cities)]
    return "\n".join([*head, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items())])


def _answered(found: Mapping[str, Any], way: str) -> str:
    return with_interval(found["answers"][way]["sd"], found["intervals"][way]["sd"])


def _cell(mark: Mapping[str, Any]) -> str:
    return with_interval(mark["mean"], mark["interval"])


def _city_table(city: str, found: Mapping[str, Any]) -> str:
    rows = [
        f"## {city}",
        "",
        f"{found['photos']} photos of {found['locations']} places not seen in training, "
        f"{found['pairs']} pairs; percent right, intervals by location.",
        "",
    ]
    keys = ("d_G", "d_J", "d_M", "s_G", "s_J", "s_M", "mean", "sd")
    rows += ["| answers | " + " | ".join(f"`{key}`" for key in keys) + " |", "|---|" + "---|" * len(keys)]
    for name in ("open", "closed", "joint", "corner_tolerant"):
        rows.append(f"| {name.replace('_', '-')} | " + _figures(found["answers"][name], keys) + " |")
    rows += ["", "| `sd` | 95 % |", "|---|---|"]
    rows += [f"| {name} | {_answered(found, name)} |" for name in found["intervals"]]
    rows += ["", "| evidence | queries | street | district | both |", "|---|---|---|---|---|"]
    for name, marks in found["beliefs"].items():
        rows.append(
            f"| {name} | {marks['queries']} | " + " | ".join(_cell(marks[k]) for k in ("s", "d", "sd")) + " |"
        )
    before, after = found["calibration"]["before"], found["calibration"]["after"]
    rows += [
        "",
        f"Photos of one place are independent to {found['independence']:g} (chosen on validation photos). "
        f"Temperature {found['calibration']['temperature']:.2f}: calibration error of streets "
        f"{before['ece']:.1f} before, {after['ece']:.1f} after.",
        "",
        "| promised coverage | true street in the set | mean size |",
        "|---|---|---|",
        *(
            f"| {name} | {_cell(one['held'])} | {one['mean_size']:.1f} |"
            for name, one in found["coverage"].items()
        ),
        "",
        "| photos from elsewhere | told apart by `none of these` (AUROC) | by doubt |",
        "|---|---|---|",
        *(
            f"| {name} | {signs['none of these']:.1f} | {signs['doubt']:.1f} |"
            for name, signs in found["strangers"].items()
        ),
        "",
        "| street read from | validation | test |",
        "|---|---|---|",
        *(
            f"| {name} | {value:.1f} | {found['variants']['test'][name]:.1f} |"
            for name, value in found["variants"]["val"].items()
        ),
        "",
    ]
    return "\n".join(rows)


def _figures(figures: Mapping[str, float | None], keys: Sequence[str]) -> str:
    return " | ".join("–" if figures[key] is None else f"{figures[key]:.1f}" for key in keys)


def draw_beliefs(result: Mapping[str, Any], path: Path) -> None:
    """Reliability and risk against coverage, a column a city."""
    cities = result["cities"]
    figure = Figure(figsize=(4 * len(cities), 7.2), layout="constrained")
    panels = figure.subplots(2, len(cities), squeeze=False)
    for (above, below), (city, found) in zip(panels.T, cities.items(), strict=True):
        for name, colour in (("before", "#b5523b"), ("after", "#4a6d8c")):
            one = found["calibration"][name]
            bins = one["bins"]
            above.plot(
                [bin["confidence"] for bin in bins],
                [bin["right"] for bin in bins],
                "o-",
                color=colour,
                label=f"{name}: error {one['ece']:.1f}",
            )
            coverage, risk = zip(*one["risk"], strict=True)
            below.plot(coverage, risk, color=colour, label=f"{name}: area {one['area_under_risk']:.1f}")
        above.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        above.set(title=city, xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
        below.set(xlabel="share of photos answered", ylabel="share wrong", xlim=(0, 1), ylim=(0, None))
        above.legend(fontsize=8)
        below.legend(fontsize=8)
    figure.savefig(path, dpi=130, metadata={"Software": None})
