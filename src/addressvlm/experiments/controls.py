"""What cross-view alignment is worth: stages 1+2 against stage 2 alone, and against spoilt alignment.

All arms start from the same base, have stage 2 on the same photos, and answer the same questions about places
that none has seen. What differs is stage 1: none; the paper's; the paper's with the same texts
beside pictures that lack something; or with photos that were taken anywhere on their maps, not in the middle
(`DatasetOptions.control`). The arm with a longer stage 2 takes as many steps as both stages together, so that
more training cannot pass for alignment. A few arms go on with stage 2 until it brings no more, again with the
same number of steps: what is left there of stage 1 is not a matter of practice.
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from addressvlm.cities.build import build_city
from addressvlm.dataset.build import build_dataset
from addressvlm.dataset.options import Control, DatasetOptions
from addressvlm.environment import environment
from addressvlm.evaluation.evaluate import PREDICTIONS, evaluate
from addressvlm.evaluation.metrics import Figures, bootstrap_intervals, cells_of, correctness, figures_of
from addressvlm.evaluation.predictions import read_predictions
from addressvlm.experiments.classifier import classify
from addressvlm.experiments.results import MEASURED, measured
from addressvlm.experiments.swapping import swap_photos
from addressvlm.folders import fingerprint, open_step, read_json, require_complete, write_json
from addressvlm.inference.localizer import Localizer
from addressvlm.model.presets import PRESETS
from addressvlm.training.bases import identify, load_base
from addressvlm.training.stages import ALIGNMENT, LOCALIZATION, Stage, for_mini
from addressvlm.training.train import train
from addressvlm.work import Workers, in_processes, say

Floats = npt.NDArray[np.float64]

ZERO_SHOT, STAGE_2, LONGER, BOTH = "zero-shot", "stage 2", "stage 2, longer", "stages 1+2"
VIEW, ELSEWHERE = "1+2, street view alone", "1+2, map of another place"
ASIDE = "1+2, photo anywhere on the map"
# Arms whose stage 1 is another, and how it is made.
CHANGED: Mapping[str, Control] = {
    VIEW: "view",
    "1+2, map without names": "unnamed",
    "1+2, blank map": "blank",
    ELSEWHERE: "elsewhere",
    "1+2, shuffled texts": "shuffled",
    ASIDE: "aside",
}
PLATEAU, BOTH_PLATEAU = "stage 2, to its plateau", "stages 1+2, to the plateau"
# Arms with the long stage 2 behind the stage 1 of another arm.
ALIGNED_AS: Mapping[str, str] = {
    BOTH_PLATEAU: BOTH,
    f"{VIEW}, to the plateau": VIEW,
    f"{ELSEWHERE}, to the plateau": ELSEWHERE,
}
# They take up what arms before them have trained, or its steps; the longest first.
_LATER = (PLATEAU, *ALIGNED_AS, LONGER)
ARMS = (ZERO_SHOT, STAGE_2, LONGER, BOTH, *CHANGED, PLATEAU, *ALIGNED_AS)
# As in the demo the tower stays as it is: half the time. Small batches, because so few photos otherwise give
# too few steps to learn streets by.
_TUNED: Mapping[str, Any] = {"trains": ("projector", "language"), "per_device_train_batch_size": 8}
_CLASSIFIER = "classifier.json"
_SWAPPED = "swapped.json"
_ASKED_SWAPPED = (BOTH, ASIDE)
_REPLICATES = 10_000


@dataclass(frozen=True)
class ControlsPlan:
    """What the controls are measured on, and the stages; chosen on other cities (experiment log)."""

    cities: tuple[str, ...] = ("mini-pitts", "mini-sf")
    seeds: int = 3
    locations: int = 500
    views: int = 4
    base: str = "mini"
    dataset: DatasetOptions = DatasetOptions(
        image_px=PRESETS["mini"].image_px, split=(0.4, 0.1, 0.5), views_share=0.5
    )
    alignment: Stage = replace(for_mini(ALIGNMENT), num_train_epochs=6, **_TUNED)
    localization: Stage = replace(for_mini(LOCALIZATION), num_train_epochs=8, **_TUNED)
    plateau: int = 5
    """How many times as long stage 2 takes in the arms that go on until it brings no more."""


@dataclass(frozen=True)
class _Run:
    city: str
    seed: int
    arm: str


def run_controls(
    out: Path, *, workers: int | None = None, plan: ControlsPlan | None = None
) -> dict[str, Any]:
    """Train and evaluate every arm on every city with every seed under `out`; a rerun continues.

    Without a GPU, `workers` arms are at work at a time, each in a process of its own.

    Returns what `summary.json` holds: by city and arm the mean over the seeds, every seed, and the 95 %
    interval by location; the paired differences from stage 2 alone, from the longer one, and between
    plateaus; and what the aligned models answer when photos are swapped (`swap_photos`).
    """
    plan = plan or ControlsPlan()
    weights = identify(plan.base, 0)
    with open_step(out, "controls", {**asdict(plan), "weights": weights, "arms": ARMS}) as step:
        if step.summary is not None:
            return step.summary
        for city in plan.cities:
            _prepare(city, _folder(out, city), plan, workers)
        if torch.cuda.is_available():
            workers = 1
        answered: dict[str, dict[str, list[pd.DataFrame]]] = {city: defaultdict(list) for city in plan.cities}
        for arms in (tuple(arm for arm in ARMS if arm not in _LATER), _LATER):
            runs = [
                _Run(city, seed, arm)
                for arm in arms
                for seed in range(1 if arm == ZERO_SHOT else plan.seeds)
                for city in plan.cities
            ]
            train_one = partial(_train_and_ask, out, plan, _threads(workers, len(runs)))
            for run, table in zip(runs, in_processes(train_one, runs, workers, chunk=1), strict=True):
                answered[run.city][run.arm].append(table)
        for city in plan.cities:
            _swap_photos(_folder(out, city), plan)
        cities = {city: _figures_of_city(_folder(out, city), answered[city]) for city in plan.cities}
        return step.finish(
            {
                "plan": asdict(plan),
                "weights": weights,
                "cities": cities,
                "environment": environment(),
                MEASURED: measured(),
            }
        )


def _folder(out: Path, city: str) -> Path:
    return out / city.replace(":", "-")


def _data(folder: Path) -> dict[Control, Path]:
    controls: tuple[Control, ...] = ("none", *CHANGED.values())
    return {control: folder / f"data-{control}" for control in controls}


def _threads(workers: Workers, runs: int) -> int:
    """Threads of each of several processes; 0 for those of PyTorch, where there is only one."""
    cores = os.cpu_count() or 1
    processes = min(workers if isinstance(workers, int) else cores, runs)
    return 0 if processes == 1 else max(1, cores // processes)


def _prepare(city: str, folder: Path, plan: ControlsPlan, workers: Workers) -> None:
    """The city, its data sets, and the line of the classifier."""
    build_city(city, folder / "city", locations=plan.locations, views=plan.views, workers=workers)
    for control, data in _data(folder).items():
        build_dataset(folder / "city", data, replace(plan.dataset, control=control), workers=workers)
    classifier = folder / _CLASSIFIER
    if not classifier.exists():
        write_json(classifier, classify(folder / "data-none"))


def _train_and_ask(out: Path, plan: ControlsPlan, threads: int, run: _Run) -> pd.DataFrame:
    """The answers of one arm in one city with one seed."""
    if threads:
        torch.set_num_threads(threads)
    say(f"controls: {run.city}, seed {run.seed}, {run.arm}")
    return _run_arm(run.arm, _folder(out, run.city), run.seed, plan)


def _swap_photos(folder: Path, plan: ControlsPlan) -> None:
    """What the aligned models read their answers off, the map or the photo; by arm."""
    if not (folder / _SWAPPED).exists():
        write_json(folder / _SWAPPED, {arm: _swapped(folder, plan, arm) for arm in _ASKED_SWAPPED})


def _swapped(folder: Path, plan: ControlsPlan, arm: str) -> dict[str, float]:
    data = _data(folder)[CHANGED.get(arm, "none")]
    found = [swap_photos(_home(folder, seed, arm) / "align", data) for seed in range(plan.seeds)]
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]}


def _figures_of_city(folder: Path, answered: Mapping[str, list[pd.DataFrame]]) -> dict[str, Any]:
    lines = read_json(folder / "zero-shot" / "evaluation" / "metrics.json")
    return {
        "photos": lines["photos"],
        "locations": lines["locations"],
        "chance": lines["chance"],
        "neighbours": lines["neighbours"],
        "classifier": read_json(folder / _CLASSIFIER)["metrics"],
        "aligned": read_json(folder / _SWAPPED),
        "arms": {arm: _figures_of(answered[arm]) for arm in ARMS},
        "differences": {
            f"{arm} - {reference}": _difference(answered[arm], answered[reference])
            for arm, reference in _compared()
        },
    }


def _compared() -> list[tuple[str, str]]:
    short = (STAGE_2, LONGER, BOTH, *CHANGED)
    pairs = [(arm, reference) for reference in (STAGE_2, LONGER) for arm in short if arm != reference]
    pairs += [(BOTH, arm) for arm in CHANGED]
    pairs += [(arm, PLATEAU) for arm in ALIGNED_AS]
    return pairs + [(BOTH_PLATEAU, arm) for arm in ALIGNED_AS if arm != BOTH_PLATEAU]


def _run_arm(arm: str, folder: Path, seed: int, plan: ControlsPlan) -> pd.DataFrame:
    """The answers of one arm with one seed; zero-shot has no seed."""
    data = _data(folder)
    if arm == ZERO_SHOT:
        localizer = Localizer(load_base(plan.base, seed=0))
        return _answers(localizer, data["none"], folder / "zero-shot" / "evaluation", {"base": plan.base})
    home = _home(folder, seed, arm)
    localization = replace(plan.localization, seed=seed)
    base = plan.base
    if arm in _LATER:
        aligned = _home(folder, seed, ALIGNED_AS.get(arm, BOTH)) / "align"
        steps = require_complete(_home(folder, seed, STAGE_2) / "localize")["steps"]
        if arm != LONGER:
            steps *= plan.plateau
        if arm in ALIGNED_AS:
            base = str(aligned)
        else:
            steps += require_complete(aligned)["steps"]
        localization = replace(localization, max_steps=steps)
    elif arm != STAGE_2:
        aligned = home / "align"
        train(replace(plan.alignment, seed=seed), data[CHANGED.get(arm, "none")], base, aligned)
        base = str(aligned)
    train(localization, data["none"], base, home / "localize")
    localizer = Localizer.load(home / "localize")
    run = {"run": fingerprint(home / "localize")}
    return _answers(localizer, data["none"], home / "evaluation", run)


def _home(folder: Path, seed: int, arm: str) -> Path:
    return folder / f"seed-{seed}" / arm.replace(" ", "-").replace(",", "").replace("+", "")


def _answers(localizer: Localizer, dataset: Path, out: Path, config: Mapping[str, Any]) -> pd.DataFrame:
    evaluate(dataset, localizer.answer, out, config=config, report=False)
    return read_predictions(out / PREDICTIONS)


def _figures_of(tables: list[pd.DataFrame]) -> dict[str, Any]:
    """Mean over the seeds, each seed, and the interval of the mean, by metric."""
    right = np.stack([_right(table) for table in tables])
    return {
        "mean": _percent(right.mean(axis=0), tables[0]),
        "seeds": [_percent(one, tables[0]) for one in right],
        "interval": _interval(right.mean(axis=0), tables[0]),
    }


def _difference(arm: list[pd.DataFrame], reference: list[pd.DataFrame]) -> dict[str, Any]:
    """Arm minus reference question by question, with the interval by location."""
    gaps = np.mean([_right(one) - _right(other) for one, other in zip(arm, reference, strict=True)], axis=0)
    return {"mean": _percent(gaps, arm[0]), "interval": _interval(gaps, arm[0])}


def _right(table: pd.DataFrame) -> Floats:
    return correctness(table, table["answer"].tolist())


def _percent(values: Floats, table: pd.DataFrame) -> Figures:
    return figures_of(values, cells_of(table))


def _interval(values: Floats, table: pd.DataFrame) -> dict[str, list[float] | None]:
    return bootstrap_intervals(values, cells_of(table), table["location"], replicates=_REPLICATES, seed=0)
