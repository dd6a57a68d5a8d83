"""The base of the mini models: from cities that nobody knows to weights that see and read."""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from addressvlm.dataset.options import SceneOptions
from addressvlm.dataset.scenery import make_scenes
from addressvlm.dataset.scenes import Scenes
from addressvlm.environment import environment
from addressvlm.experiments.exam import examine
from addressvlm.experiments.timing import SECONDS, timed
from addressvlm.folders import SUMMARY, fingerprint, open_step, read_json
from addressvlm.inference.localizer import Localizer
from addressvlm.model.backbone import MODEL, RANDOM, load_backbone, save_backbone
from addressvlm.training.bases import folder_of, identify
from addressvlm.training.log import read_log
from addressvlm.training.pretrain import pretrain
from addressvlm.training.stages import EVERYTHING, FURTHER, READING, SEEING, SPEAKING, SPELLING, Stage
from addressvlm.training.unlearned import draw_unlearned
from addressvlm.work import say


@dataclass(frozen=True)
class Run:
    """A training run: the field of the plan that says how, and the runs whose weights it takes.

    Without `start` they are those of the plan's start, or random; without `voice` projector and language
    model come from `start`, too.
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
# Of a base that can do all that already.
ONE_MORE = {"model": Run("further")}
# What a base folder says about itself, kept beside one that goes on from it.
CARD, CURVES, BEFORE = "README.md", "curves.png", "before"
BASE = "base"  # the last run's model in bfloat16, ready for tuning


@dataclass(frozen=True)
class PretrainingPlan:
    """What a base is made from. The exam's cities are none of those that are learned from."""

    preset: str = "mini"
    start: str | None = None  # a base to go on from instead of random weights: with everything at once
    scenes: SceneOptions = SceneOptions()
    exam: SceneOptions = SceneOptions(first_seed=900_000, cities=8, locations=30, views=2)
    reading: Stage = READING
    spelling: Stage = SPELLING
    seeing: Stage = SEEING
    speaking: Stage = SPEAKING
    everything: Stage = EVERYTHING
    further: Stage = FURTHER
    examined: int | None = None  # scenes of the exam; all of them

    @property
    def runs(self) -> dict[str, Run]:
        """The runs by their folders."""
        return ONE_MORE if self.start else RUNS


def run_pretraining(
    out: Path, *, seed: int = 0, workers: int | None = None, plan: PretrainingPlan | None = None
) -> dict[str, Any]:
    """Render scenes, train in five runs or from a base on in one, examine; a rerun continues.

    Returns the summary.
    """
    plan = plan or PretrainingPlan()
    began = plan.start or f"{RANDOM}{plan.preset}"
    with open_step(
        out, "pretraining", {**asdict(plan), "start": identify(began, seed), "seed": seed}
    ) as step:
        if step.summary is not None:
            return step.summary
        if plan.start:
            _keep_card(plan.start, out / BEFORE)
        scenes, exam = out / "scenes", out / "exam"
        with timed(out, "scenes"):
            made = make_scenes(plan.scenes, scenes, workers=workers)
        with timed(out, "exam"):
            make_scenes(plan.exam, exam, workers=workers)
        for name, run in plan.runs.items():
            say(f"{out.name}: {name}")
            stage = replace(getattr(plan, run.stage), seed=seed)
            start = str(out / run.start) if run.start else began
            pretrain(stage, scenes, start, out / name, voice=out / run.voice if run.voice else None)
        model = out / "model"
        drawn = _finish(model, scenes, out / BASE, seed)
        marks = examine(Localizer(load_backbone(out / BASE)), exam, scenes=plan.examined)
        return step.finish(
            {
                "preset": plan.preset,
                "seed": seed,
                "scenes": made,
                "run": fingerprint(model),
                "steps": {name: read_json(out / name / SUMMARY)["steps"] for name in plan.runs},
                "drawn": drawn,
                "exam": marks,
                "seconds": {**read_json(out / SECONDS), **{name: _seconds(out / name) for name in plan.runs}},
                **environment(),
            }
        )


def _keep_card(base: str, folder: Path) -> None:
    """What the base says about itself, and what the one before it said, if anything."""
    source = folder_of(base)
    if source is None:
        return
    for name in (CARD, CURVES, BEFORE):
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name, dirs_exist_ok=True)
        elif (source / name).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / name)


def _finish(run: Path, scenes: Path, base: Path, seed: int) -> int:
    """Write the model of a run as a base for tuning; returns how many tokens' embeddings were drawn anew."""
    backbone = load_backbone(run / MODEL)
    drawn = draw_unlearned(backbone, Scenes(scenes), seed=seed)
    backbone.model.to(torch.bfloat16)
    save_backbone(backbone, base)
    return drawn


def _seconds(run: Path) -> float:
    """How long a run has trained, over all the times that it was continued, however it was stopped."""
    return round(float(read_log(run)[-1]["seconds"]), 1)
