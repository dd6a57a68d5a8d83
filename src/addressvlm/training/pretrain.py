"""Pre-training of a mini model on scenes of many cities: it reads, spells, sees and speaks, in this order."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from addressvlm.dataset.lessons import FIRST, LATER
from addressvlm.dataset.scenes import Scenes
from addressvlm.folders import fingerprint, open_step
from addressvlm.model.backbone import MODEL, RANDOM, Backbone, load_backbone
from addressvlm.model.lora import train_parts
from addressvlm.training.bases import identify, load_base
from addressvlm.training.glimpses import Glimpses
from addressvlm.training.glimpses import collate as collate_glimpses
from addressvlm.training.lectures import Everything, Lectures, Spellings, Studies, collate_studies
from addressvlm.training.lectures import collate as collate_lectures
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.precision import computes_in_bf16
from addressvlm.training.reading import Pages, Reading
from addressvlm.training.reading import collate as collate_pages
from addressvlm.training.seeing import Seeing
from addressvlm.training.speaking import Speaking
from addressvlm.training.stages import Stage
from addressvlm.training.train import carry_out
from addressvlm.training.trainer import CHECKPOINTS, Collate
from addressvlm.work import keep_freed_memory


def pretrain(
    stage: Stage, scenes: Path, start: str, out: Path, *, voice: Path | None = None
) -> dict[str, Any]:
    """Train on scenes all weights of a base, an earlier run or random ones; returns the summary.

    Projector and language model are those of the run `voice`, where it is given.
    """
    earlier = identify(start, stage.seed)
    if voice is not None:
        earlier["voice"] = fingerprint(voice)
    config = {**asdict(stage), **earlier, "scenes": fingerprint(scenes)}
    with open_step(out, "run", config) as step:
        if step.summary is not None:
            rmtree(out / CHECKPOINTS, ignore_errors=True)
            return step.summary
        keep_freed_memory()
        backbone = load_base(start, stage.seed)
        backbone.name = backbone.name.removeprefix(RANDOM)  # its weights will not be random
        backbone.model.config.addressvlm_backbone = backbone.name
        if voice is not None:
            _take_voice(backbone, voice)
        train_parts(backbone.model, stage.trains)
        loss, samples, collate = _learning(stage, backbone, Scenes(scenes))
        return carry_out(step, stage, loss, samples, backbone, backbone.model, collate)


def _take_voice(backbone: Backbone, run: Path) -> None:
    """Put in the projector and the language model of a run."""
    other = load_backbone(run / MODEL).model.state_dict()
    spoken = {name: weight for name, weight in other.items() if "vision_tower" not in name}
    backbone.model.load_state_dict(spoken, strict=False)


def _learning(stage: Stage, backbone: Backbone, scenes: Scenes) -> tuple[nn.Module, Dataset[Any], Collate]:
    """The loss of a stage, its samples, and how they become a batch."""
    bf16 = computes_in_bf16(stage)
    if stage.name == "reading":
        pages = Pages(scenes, backbone, seed=stage.seed)
        return Reading(backbone, bf16=bf16, seed=stage.seed), pages, collate_pages
    if stage.name == "seeing":
        glimpses = Glimpses(scenes, backbone, seed=stage.seed)
        seeing = Seeing(backbone, len(glimpses.vocabulary), bf16=bf16, seed=stage.seed)
        return seeing, glimpses, collate_glimpses
    pad_id = backbone.tokenizer.pad_token_id
    answers = AnswerLoss(backbone.model, backbone.preprocessing, bf16=bf16)
    speaking = Speaking(answers, nothing=pad_id)
    if stage.name == "spelling":
        spellings = Spellings(scenes, backbone, seed=stage.seed, rounds=stage.rounds)
        return speaking, spellings, partial(collate_lectures, pad_id=pad_id)
    syllabus = FIRST if stage.name == "speaking" else LATER
    lectures = Lectures(scenes, backbone, seed=stage.seed, rounds=stage.rounds, syllabus=syllabus)
    if stage.name == "speaking":
        return speaking, lectures, partial(collate_lectures, pad_id=pad_id)
    glimpses = Glimpses(scenes, backbone, seed=stage.seed)
    seeing = Seeing(backbone, len(glimpses.vocabulary), bf16=bf16, seed=stage.seed)
    studies = Studies(glimpses, lectures, seed=stage.seed)
    return Everything(speaking, seeing), studies, partial(collate_studies, pad_id=pad_id)
