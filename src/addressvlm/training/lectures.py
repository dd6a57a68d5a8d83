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
from addressvlm.dataset.scenes import Name, SceneFacts, Scenes
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import Rounds, Turn, encode_conversation
from addressvlm.training.batches import Key, Sample
from addressvlm.training.batches import collate as collate_samples
from addressvlm.training.glimpses import Glimpse, Glimpses
from addressvlm.training.glimpses import collate as collate_glimpses
from addressvlm.training.pointing import points_of
from addressvlm.training.reading import SLOTS, UNKNOWN, Pages, tokens_of
from addressvlm.training.seeing import Seeing
from addressvlm.training.speaking import Speaking


@dataclass(frozen=True)
class Lecture:
    """Questions about a picture of a scene, and the tokens on its patches as `reading.tokens_of` gives them.

    `tokens` (patches, SLOTS) are UNKNOWN where nothing is written on the picture; `points` (tokens) are those
    of `pointing.points_of`.
    """

    sample: Sample
    tokens: npt.NDArray[np.int64]
    points: npt.NDArray[np.int64]


class _Asking(Dataset[Lecture]):
    """Every scene once an epoch, each time asked otherwise. Keys are (epoch, index)."""

    def __init__(self, scenes: Scenes, backbone: Backbone, *, seed: int, rounds: Rounds):
        self._scenes = scenes
        self._backbone = backbone
        self._seed = seed
        self._rounds = rounds

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, key: Key) -> Lecture:
        return self.about(key[1], np.random.default_rng((self._seed, *key)))

    def about(self, scene: int, dice: np.random.Generator) -> Lecture:
        """A lecture about a scene."""
        raise NotImplementedError

    def _lecture(
        self,
        facts: SceneFacts,
        pixels: npt.NDArray[np.uint8],
        asked: Sequence[Lesson],
        words: Sequence[Name] | None,
    ) -> Lecture:
        """Lessons about a picture, encoded; `words` are those that stand on it, if any do."""
        tokenizer, size_px = self._backbone.tokenizer, self._backbone.preprocessing.size_px
        turns = [Turn(lesson.question, lesson.answer) for lesson in asked]
        encoded = encode_conversation(
            tokenizer, turns, image_tokens=self._backbone.image_tokens, rounds=self._rounds
        )
        patch_px = int(self._backbone.model.config.vision_config.patch_size)
        side = size_px // patch_px
        if words:
            tokens = tokens_of(words, tokenizer, patch_px, side)
        else:
            tokens = np.full((side * side, SLOTS), UNKNOWN)
        answers = [lesson.answer for lesson in asked]
        points = points_of(encoded, answers, words or (), tokenizer, patch_px, side)
        return Lecture(Sample(facts.place, encoded, pixels[None]), tokens, points)


class Lectures(_Asking):
    """Lessons of a syllabus: about one of the pictures of a scene, drawn anew at every visit."""

    def __init__(self, scenes: Scenes, backbone: Backbone, *, seed: int, rounds: Rounds, syllabus: Syllabus):
        super().__init__(scenes, backbone, seed=seed, rounds=rounds)
        self._syllabus = syllabus

    def about(self, scene: int, dice: np.random.Generator) -> Lecture:
        """A phrase, a judgment and a choice about one of its pictures."""
        facts = self._scenes.facts(scene)
        stranger = self._scenes.facts(int(dice.integers(len(self._scenes))))
        others = [name.name for name in (*stranger.names, *stranger.page)]
        preprocessing = self._backbone.preprocessing
        drawn = lecture(facts, others, preprocessing.size_px, dice, self._syllabus)
        pixels = preprocessing.pixels(self._scenes.picture(scene, drawn.picture))
        written = {"page": facts.page, "named": facts.names, "grafted": facts.names}.get(drawn.picture)
        return self._lecture(facts, pixels, drawn.lessons, written)


class Spellings(_Asking):
    """All that is written on the page of a scene and its guests.

    A list of all names makes the language model copy more in one answer than questions after single ones do.
    """

    def __init__(self, scenes: Scenes, backbone: Backbone, *, seed: int, rounds: Rounds):
        super().__init__(scenes, backbone, seed=seed, rounds=rounds)
        self._pages = Pages(scenes, backbone, seed=seed)

    def about(self, scene: int, dice: np.random.Generator) -> Lecture:
        """All lessons about the names on its page."""
        sheet = self._pages.sheet(scene, dice)
        facts = replace(self._scenes.facts(scene), page=tuple(sheet.words))
        known = lessons(facts, "page", (), self._backbone.preprocessing.size_px, dice)
        return self._lecture(facts, sheet.pixels, known, facts.page)


def collate(lectures: Sequence[Lecture], *, pad_id: int) -> dict[str, Any]:
    """One batch: that of the samples, `tokens` (pictures, patches, SLOTS) and `points` (pictures, tokens)."""
    batch = collate_samples([one.sample for one in lectures], pad_id=pad_id)
    points = torch.full_like(batch["input_ids"], UNKNOWN)
    for row, one in zip(points, lectures, strict=True):
        row[: len(one.points)] = torch.from_numpy(one.points)
    return {**batch, "tokens": torch.from_numpy(np.stack([one.tokens for one in lectures])), "points": points}


@dataclass(frozen=True)
class Study:
    """A glimpse of a city, and a lecture about each scene whose map it shows."""

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
