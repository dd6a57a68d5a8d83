"""Pre-training of a mini model on scenes of many mini cities: first the tower sees, then the model speaks."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from addressvlm.dataset.lessons import lecture
from addressvlm.dataset.scenes import Scenes
from addressvlm.folders import fingerprint, open_step
from addressvlm.model.backbone import MODEL, Backbone, build_backbone, load_backbone
from addressvlm.model.conversation import Rounds, Turn, encode_conversation
from addressvlm.model.lora import train_parts
from addressvlm.training.batches import Key, Sample, collate
from addressvlm.training.glimpses import Glimpses
from addressvlm.training.glimpses import collate as collate_glimpses
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.precision import computes_in_bf16
from addressvlm.training.seeing import Seeing
from addressvlm.training.stages import Stage
from addressvlm.training.train import carry_out
from addressvlm.training.trainer import CHECKPOINTS
from addressvlm.work import keep_freed_memory


def pretrain_tower(stage: Stage, scenes: Path, preset: str, out: Path) -> dict[str, Any]:
    """Train the vision tower of a preset from random weights on; the rest of the model stays as it is."""
    config = {**asdict(stage), "preset": preset, "scenes": fingerprint(scenes)}
    with open_step(out, "run", config) as step:
        if step.summary is not None:
            rmtree(out / CHECKPOINTS, ignore_errors=True)
            return step.summary
        keep_freed_memory()
        backbone = build_backbone(preset, seed=stage.seed)
        backbone.name = backbone.model.config.addressvlm_backbone = preset  # its weights will not be random
        train_parts(backbone.model, stage.trains)
        glimpses = Glimpses(Scenes(scenes), backbone, seed=stage.seed)
        loss = Seeing(backbone, len(glimpses.vocabulary), bf16=computes_in_bf16(stage), seed=stage.seed)
        return carry_out(step, stage, loss, glimpses, backbone, backbone.model, collate_glimpses)


def pretrain_model(stage: Stage, scenes: Path, earlier: Path, out: Path) -> dict[str, Any]:
    """Train the model on lessons, from an earlier run of pre-training on."""
    config = {**asdict(stage), "earlier": fingerprint(earlier), "scenes": fingerprint(scenes)}
    with open_step(out, "run", config) as step:
        if step.summary is not None:
            rmtree(out / CHECKPOINTS, ignore_errors=True)
            return step.summary
        keep_freed_memory()
        backbone = load_backbone(earlier / MODEL)
        train_parts(backbone.model, stage.trains)
        lectures = Lectures(Scenes(scenes), backbone, seed=stage.seed, rounds=stage.rounds)
        loss = AnswerLoss(backbone.model, backbone.preprocessing, bf16=computes_in_bf16(stage))
        padded = partial(collate, pad_id=backbone.tokenizer.pad_token_id)
        return carry_out(step, stage, loss, lectures, backbone, backbone.model, padded)


class Lectures(Dataset[Sample]):
    """Every scene once an epoch, each time with other lessons. Keys are (epoch, index)."""

    def __init__(self, scenes: Scenes, backbone: Backbone, *, seed: int, rounds: Rounds):
        self._rounds = rounds
        self._scenes = scenes
        self._backbone = backbone
        self._seed = seed

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, key: Key) -> Sample:
        dice = np.random.default_rng((self._seed, *key))
        facts = self._scenes.facts(key[1])
        stranger = self._scenes.facts(int(dice.integers(len(self._scenes))))
        others = [name.name for name in (*stranger.names, *stranger.page)]
        size_px = self._backbone.preprocessing.size_px
        drawn = lecture(facts, others, size_px, dice)
        image = self._scenes.picture(key[1], drawn.picture)
        turns = [Turn(lesson.question, lesson.answer) for lesson in drawn.lessons]
        encoded = encode_conversation(
            self._backbone.tokenizer, turns, image_tokens=self._backbone.image_tokens, rounds=self._rounds
        )
        return Sample(facts.place, encoded, self._backbone.preprocessing.pixels(image)[None])
