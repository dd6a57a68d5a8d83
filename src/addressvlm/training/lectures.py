"""What the language model is asked in pre-training: lectures about scenes, alone or beside glimpses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import Dataset

from addressvlm.dataset.lessons import Lesson, Syllabus, lecture, lessons
from addressvlm.dataset.scenes import Name, Scenes
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import Rounds, Turn, encode_conversation
from addressvlm.training.batches import Key, Sample
from addressvlm.training.batches import collate as collate_samples
from addressvlm.training.glimpses import Glimpse, Glimpses
from addressvlm.training.glimpses import collate as collate_glimpses
from addressvlm.training.reading import GUESTS, SLOTS, UNKNOWN, Pages, tokens_of
from addressvlm.training.seeing import Seeing
from addressvlm.training.speaking import Speaking


@dataclass(frozen=True)
class Lecture:
    """Questions about a picture of a scene, and the tokens on its patches as `reading.tokens_of` gives them.

    `tokens` (patches, SLOTS) are UNKNOWN where the picture is no page: Mapnik does not tell its letters.
    """

    sample: Sample
    tokens: npt.NDArray[np.int64]


class Lectures(Dataset[Lecture]):
    """Every scene once an epoch, each time with other lessons. Keys are (epoch, index)."""

    def __init__(
        self,
        scenes: Scenes,
        backbone: Backbone,
        *,
        seed: int,
        rounds: Rounds,
        syllabus: Syllabus,
    ):
        self._rounds = rounds
        self._syllabus = syllabus
        self._scenes = scenes
        self._backbone = backbone
        self._seed = seed

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, key: Key) -> Lecture:
        return self.about(key[1], np.random.default_rng((self._seed, *key)))

    def about(self, scene: int, dice: np.random.Generator) -> Lecture:
        """A lecture about a scene."""
        facts = self._scenes.facts(scene)
        stranger = self._scenes.facts(int(dice.integers(len(self._scenes))))
        others = [name.name for name in (*stranger.names, *stranger.page)]
        size_px = self._backbone.preprocessing.size_px
        drawn = lecture(facts, others, size_px, dice, self._syllabus)
        pixels = self._backbone.preprocessing.pixels(self._scenes.picture(scene, drawn.picture))
        words = facts.page if drawn.picture == "page" else None
        return _given(self._backbone, facts.place, pixels, words, drawn.lessons, self._rounds)


class Spellings(Dataset[Lecture]):
    """Every page once an epoch, each time with other guests, and all that is written on it.

    A list of all names makes the language model copy more in one answer than questions after single ones do.
    Keys are (epoch, index).
    """

    def __init__(self, scenes: Scenes, backbone: Backbone, *, seed: int, rounds: Rounds):
        self._scenes = scenes
        self._pages = Pages(scenes, backbone, seed=seed, guests=GUESTS)
        self._backbone = backbone
        self._seed = seed
        self._rounds = rounds

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, key: Key) -> Lecture:
        dice = np.random.default_rng((self._seed, *key))
        sheet = self._pages.sheet(key[1], dice)
        facts = replace(self._scenes.facts(key[1]), page=tuple(sheet.words))
        known = lessons(facts, "page", (), self._backbone.preprocessing.size_px, dice)
        return _given(self._backbone, facts.place, sheet.pixels, facts.page, known, self._rounds)


def _given(
    backbone: Backbone,
    place: str,
    pixels: npt.NDArray[np.uint8],
    words: Sequence[Name] | None,
    asked: Sequence[Lesson],
    rounds: Rounds,
) -> Lecture:
    """Lessons about a picture, encoded; `words` are those of a page."""
    turns = [Turn(lesson.question, lesson.answer) for lesson in asked]
    encoded = encode_conversation(
        backbone.tokenizer, turns, image_tokens=backbone.image_tokens, rounds=rounds
    )
    patch_px = int(backbone.model.config.vision_config.patch_size)
    side = backbone.preprocessing.size_px // patch_px
    tokens = np.full((side * side, SLOTS), UNKNOWN)
    if words is not None:
        tokens = tokens_of(words, backbone.tokenizer, patch_px, side)
    return Lecture(Sample(place, encoded, pixels[None]), tokens)


def collate(lectures: Sequence[Lecture], *, pad_id: int) -> dict[str, Any]:
    """One batch: that of the samples, with `tokens` (pictures, patches, SLOTS)."""
    batch = collate_samples([one.sample for one in lectures], pad_id=pad_id)
    return {**batch, "tokens": torch.from_numpy(np.stack([one.tokens for one in lectures]))}


@dataclass(frozen=True)
class Study:
    """A glimpse of a city, and a lecture about each of its scenes."""

    glimpse: Glimpse
    lectures: Sequence[Lecture]


class Studies(Dataset[Study]):
    """Studies of all cities; an epoch has about one lecture about every scene. Keys are (epoch, index)."""

    def __init__(self, glimpses: Glimpses, lectures: Lectures, *, seed: int):
        self._glimpses = glimpses
        self._lectures = lectures
        self._seed = seed

    def __len__(self) -> int:
        return len(self._glimpses)

    def __getitem__(self, key: Key) -> Study:
        dice = np.random.default_rng((self._seed, *key, 1))
        scenes, glimpse = self._glimpses.look(key)
        return Study(glimpse, [self._lectures.about(scene, dice) for scene in scenes])


def collate_studies(studies: Sequence[Study], *, pad_id: int) -> dict[str, Any]:
    """One batch: that of the glimpses and that of the lectures."""
    lectures = collate([one for study in studies for one in study.lectures], pad_id=pad_id)
    photos = lectures.pop("photos")
    glimpses = collate_glimpses([study.glimpse for study in studies])
    return {"glimpses": glimpses, "lectures": lectures, "photos": photos}


class Everything(nn.Module):
    """The loss of lectures and that of all that the tower has learned: what is not practised is forgotten.

    `parts` are the losses of the last batch by name.
    """

    def __init__(self, speaking: Speaking, seeing: Seeing):
        super().__init__()
        self.speaking = speaking
        self.seeing = seeing
        self.parts: dict[str, float] = {}

    def forward(self, glimpses: dict[str, Any], lectures: dict[str, Any]) -> dict[str, torch.Tensor]:
        """`loss` of a batch of `collate_studies`, the sum of both."""
        spoken, seen = self.speaking(**lectures)["loss"], self.seeing(**glimpses)["loss"]
        self.parts = {**self.speaking.parts, **self.seeing.parts}
        return {"loss": spoken + seen}
