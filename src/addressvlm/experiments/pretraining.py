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
from addressvlm.training.log import read_log
from addressvlm.training.pretrain import pretrain
from addressvlm.training.stages import EVERYTHING, READING, SEEING, SPEAKING, SPELLING, Stage
from addressvlm.work import say


@dataclass(frozen=True)
class Run:
    """A training run: the field of the plan that says how, and the runs whose weights it takes.

    Without `start` they are random; without `voice` projector and language model come from `start`, too.
    """

    stage: str
    start: str | None = None
    voice: str | None = None


# By their folders, in their order: the speller and the tower both start from the reader.
RUNS = {
    "reader": Run("reading"),
    "speller": Run("spelling", "reader"),
    "tower": Run("seeing", "reader"),
    "speech": Run("speaking", "tower", voice="speller"),
    "model": Run("everything", "speech"),
}


@dataclass(frozen=True)
class PretrainingPlan:
    """What a base is made from. The exam's cities are none of those that are learned from."""

    preset: str = "mini"
    scenes: SceneOptions = SceneOptions()
    exam: SceneOptions = SceneOptions(first_seed=900_000, cities=8, locations=30, views=2)
    reading: Stage = READING
    spelling: Stage = SPELLING
    seeing: Stage = SEEING
    speaking: Stage = SPEAKING
    everything: Stage = EVERYTHING
    examined: int | None = None  # scenes of the exam; all of them


def run_pretraining(
    out: Path, *, seed: int = 0, workers: int | None = None, plan: PretrainingPlan | None = None
) -> dict[str, Any]:
    """Render scenes, train in five runs, examine; a rerun continues. Returns the summary."""
    plan = plan or PretrainingPlan()
    with open_step(out, "pretraining", {**asdict(plan), "seed": seed}) as step:
        if step.summary is not None:
            return step.summary
        scenes, exam = out / "scenes", out / "exam"
        with timed(out, "scenes"):
            made = make_scenes(plan.scenes, scenes, workers=workers)
        with timed(out, "exam"):
            make_scenes(plan.exam, exam, workers=workers)
        for name, run in RUNS.items():
            say(f"{out.name}: {name}")
            stage = replace(getattr(plan, run.stage), seed=seed)
            start = out / run.start if run.start else plan.preset
            pretrain(stage, scenes, start, out / name, voice=out / run.voice if run.voice else None)
        model = out / "model"
        marks = examine(Localizer.load(model), exam, scenes=plan.examined)
        return step.finish(
            {
                "preset": plan.preset,
                "seed": seed,
                "scenes": made,
                "run": fingerprint(model),
                "steps": {name: read_json(out / name / SUMMARY)["steps"] for name in RUNS},
                "exam": marks,
                "seconds": {**read_json(out / SECONDS), **{name: _seconds(out / name) for name in RUNS}},
                **environment(),
            }
        )


def _seconds(run: Path) -> float:
    """How long a run has trained, over all the times that it was continued, however it was stopped."""
    return round(float(read_log(run)[-1]["seconds"]), 1)
