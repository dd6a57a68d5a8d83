"""The whole road on a mini city, in a few minutes on two cores and without any download.

Both stages tune adapters of the shipped base (`train pretrain`), as the paper's do those of a large model;
its tower, which has seen many cities, stays as it is (a row of the paper's Table 4, and half the time). All
that was chosen on the validation split of `mini:107`; the numbers of locations and epochs fit into eight
minutes of a fast CPU (docs/experiment-log.md).
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from addressvlm.cities.build import build_city
from addressvlm.dataset.build import build_dataset
from addressvlm.dataset.options import DatasetOptions
from addressvlm.environment import environment
from addressvlm.evaluation.evaluate import evaluate
from addressvlm.evaluation.predictions import read_predictions
from addressvlm.experiments.results import MEASURED, measured
from addressvlm.experiments.timing import SECONDS, timed
from addressvlm.folders import fingerprint, open_step, read_json
from addressvlm.inference.calibrating import calibrate_run
from addressvlm.inference.constrained import constrained_answers
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.locating import locate
from addressvlm.model.presets import PRESETS
from addressvlm.training.stages import ALIGNMENT, LOCALIZATION, Stage, for_mini
from addressvlm.training.train import train

_TRAINED = ("projector", "language")


@dataclass(frozen=True)
class DemoPlan:
    """What the demo does; the tests walk the same road with smaller numbers."""

    city: str = "mini-pitts"
    locations: int = 600
    views: int = 8
    base: str = "mini"
    dataset: DatasetOptions = DatasetOptions(image_px=PRESETS["mini"].image_px)
    alignment: Stage = replace(for_mini(ALIGNMENT), trains=_TRAINED)
    localization: Stage = replace(for_mini(LOCALIZATION), trains=_TRAINED, num_train_epochs=7.0)
    samples: int = 100


def run_demo(
    out: Path, *, seed: int = 0, workers: int | None = None, plan: DemoPlan | None = None
) -> dict[str, Any]:
    """Walk from a city to a report under `out`; a rerun continues. Returns what `summary.json` holds."""
    plan = plan or DemoPlan()
    with open_step(out, "demo", {**asdict(plan), "seed": seed}) as step:
        if step.summary is not None:
            return step.summary
        city, data, aligned, localized = (out / name for name in ("city", "dataset", "align", "localize"))
        answers, maps = out / "evaluation", out / "locate"

        with timed(out, "city"):
            build_city(plan.city, city, locations=plan.locations, views=plan.views, workers=workers)
        with timed(out, "dataset"):
            build_dataset(city, data, replace(plan.dataset, seed=seed), workers=workers)
        with timed(out, "align"):
            train(replace(plan.alignment, seed=seed), data, plan.base, aligned)
        with timed(out, "localize"):
            train(replace(plan.localization, seed=seed), data, str(aligned), localized)
        with timed(out, "evaluate"):
            localizer = Localizer.load(localized)
            metrics = evaluate(
                data,
                localizer.answer,
                answers,
                constrained=partial(constrained_answers, localizer),
                config={"run": fingerprint(localized)},
            )
        with timed(out, "locate"):
            calibrate_run(localizer, data)
            photo = read_predictions(answers / "predictions.jsonl")["photo"][0]
            picture = data / "images" / "photos" / f"{photo}.jpg"
            located = locate(localizer, [picture], samples=plan.samples, seed=seed, out=maps)
        return step.finish(
            {
                "city": plan.city,
                "seed": seed,
                **metrics,
                "located": {"photo": photo, "answer": located["in_words"], "top": located["streets"][:3]},
                "seconds": read_json(out / SECONDS),
                **environment(),
                MEASURED: measured(),
            }
        )
