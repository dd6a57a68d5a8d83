"""The base of the mini models: from cities that nobody knows to weights that see and read."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from addressvlm.dataset.options import SceneOptions
from addressvlm.dataset.scenery import make_scenes
from addressvlm.environment import environment
from addressvlm.experiments.exam import examine
from addressvlm.experiments.timing import SECONDS, timed
from addressvlm.folders import SUMMARY, fingerprint, open_step, read_json
from addressvlm.inference.localizer import Localizer
from addressvlm.training.pretrain import pretrain_model, pretrain_tower
from addressvlm.training.stages import EVERYTHING, SEEING, SPEAKING, Stage


@dataclass(frozen=True)
class PretrainingPlan:
    """What a base is made from. The exam's cities are none of those that are learned from."""

    preset: str = "mini"
    scenes: SceneOptions = SceneOptions()
    exam: SceneOptions = SceneOptions(first_seed=900_000, cities=8, locations=30, views=2)
    seeing: Stage = SEEING
    speaking: Stage = SPEAKING
    everything: Stage = EVERYTHING
    examined: int | None = None  # scenes of the exam; all of them


def run_pretraining(
    out: Path, *, seed: int = 0, workers: int | None = None, plan: PretrainingPlan | None = None
) -> dict[str, Any]:
    """Render scenes, train tower, speech and everything, examine; a rerun continues. Returns the summary."""
    plan = plan or PretrainingPlan()
    with open_step(out, "pretraining", {**asdict(plan), "seed": seed}) as step:
        if step.summary is not None:
            return step.summary
        scenes, exam, *runs = (out / name for name in ("scenes", "exam", "tower", "speech", "model"))
        tower, speech, model = runs
        with timed(out, "scenes"):
            made = make_scenes(plan.scenes, scenes, workers=workers)
        with timed(out, "exam"):
            make_scenes(plan.exam, exam, workers=workers)
        with timed(out, "tower"):
            pretrain_tower(replace(plan.seeing, seed=seed), scenes, plan.preset, tower)
        with timed(out, "speech"):
            pretrain_model(replace(plan.speaking, seed=seed), scenes, tower, speech)
        with timed(out, "model"):
            pretrain_model(replace(plan.everything, seed=seed), scenes, speech, model)
        marks = examine(Localizer.load(model), exam, scenes=plan.examined)
        return step.finish(
            {
                "preset": plan.preset,
                "seed": seed,
                "scenes": made,
                "run": fingerprint(model),
                "steps": {run.name: read_json(run / SUMMARY)["steps"] for run in runs},
                "exam": marks,
                "seconds": read_json(out / SECONDS),
                **environment(),
            }
        )
