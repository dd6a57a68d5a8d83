"""Answers that cannot be nonsense: the likeliest of those that a question allows, and of the gazetteer.

`closed`: a real street, a real district, a real pair, Yes or No, one of the letters; each question by itself.
`joint`: all questions of a photo from one belief, that about pairs: its likeliest pair is named, of options
the likeliest is chosen, and a name is affirmed if the photo makes it likelier than it is among all photos.
The paper's answers are open: whatever the model says.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np

from addressvlm.dataset.answers import LETTERS, Level, joint_answer
from addressvlm.dataset.questions import asks_for
from addressvlm.inference.beliefs import score_names
from addressvlm.inference.fusion import normalised, of_districts, of_streets
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.localizer import ROOM_FOR_A_NAME, Localizer
from addressvlm.inference.nametrie import Floats, NameTrie
from addressvlm.inference.onepass import tokens_at_once
from addressvlm.inference.prompts import Asked, sights
from addressvlm.work import batched_by

_YES_NO = ("Yes", "No")


class Posed(Asked, Protocol):
    """A question of a data set: what kind it is of, about which level, with which options."""

    @property
    def kind(self) -> str:
        """generation, judgment, multiple_choice or joint."""

    @property
    def level(self) -> str:
        """district, street or both."""

    @property
    def options(self) -> Sequence[str]:
        """Those of a multiple choice."""


def constrained_answers(localizer: Localizer, requests: Sequence[Posed]) -> Iterator[dict[str, str]]:
    """The answers `closed` and `joint` to all requests, in their order, those of a photo in one pass.

    A photo without joint question has no belief to agree with: its joint answers are closed. Raises
    `AddressVLMError` for a model that cannot read trees.
    """
    localizer.require_trees()
    choices = _Choices(localizer)
    posed = iter(requests)
    seen = [
        (sight, list(islice(posed, len(sight.prompts))))
        for sight in sights(requests, localizer.backbone, ROOM_FOR_A_NAME)
    ]
    most = tokens_at_once(localizer.backbone)
    for batch in batched_by(seen, most, lambda one: one[0].tokens + sum(choices.tokens(q) for q in one[1])):
        tries = [[choices.trie(question) for question in questions] for _, questions in batch]
        scores = score_names(localizer.backbone, [sight for sight, _ in batch], tries)
        for (_, questions), found in zip(batch, scores, strict=True):
            pairs = [score for score, q in zip(found, questions, strict=True) if q.kind == "joint"]
            belief = _Belief(localizer.names, pairs[0]) if pairs else None
            for question, score in zip(questions, found, strict=True):
                closed = choices.texts(question)[int(score.argmax())]
                yield {"closed": closed, "joint": (belief.answer(question) if belief else None) or closed}


class _Choices:
    """The texts that are allowed as answers to each kind of question, and their tries."""

    def __init__(self, localizer: Localizer):
        names, backbone = localizer.names, localizer.backbone
        self._names: dict[Level, Sequence[str]] = {
            "district": names.districts,
            "street": names.streets,
            "both": names.pair_names,
        }
        self._tries = localizer.tries
        self._yes_no = NameTrie([(word,) for word in _YES_NO], backbone)
        self._letters = {
            number: NameTrie([(letter,) for letter in LETTERS[:number]], backbone)
            for number in range(1, len(LETTERS) + 1)
        }

    def texts(self, question: Posed) -> Sequence[str]:
        match question.kind:
            case "judgment":
                return _YES_NO
            case "multiple_choice":
                return LETTERS[: len(question.options)]
        return self._names[_level(question)]

    def trie(self, question: Posed) -> NameTrie:
        match question.kind:
            case "judgment":
                return self._yes_no
            case "multiple_choice":
                return self._letters[len(question.options)]
        return self._tries[_level(question)]

    def tokens(self, question: Posed) -> int:
        return self.trie(question).tokens


class _Belief:
    """Answers that all follow from one belief about pairs."""

    def __init__(self, gazetteer: Gazetteer, pairs: Floats):
        pairs = normalised(pairs)
        self._shares = gazetteer.shares
        self._names: dict[Level, Sequence[str]] = {
            "district": gazetteer.districts,
            "street": gazetteer.streets,
        }
        self._scores: dict[Level, Floats] = {
            "district": np.exp(of_districts(gazetteer, pairs)),
            "street": np.exp(of_streets(gazetteer, pairs)),
        }
        district, street = gazetteer.pairs[int(pairs.argmax())]
        self._address = joint_answer(gazetteer.districts[district], gazetteer.streets[street])
        self._believed: dict[Level, str] = {
            "district": gazetteer.districts[district],
            "street": gazetteer.streets[street],
        }

    def answer(self, question: Posed) -> str | None:
        """The answer, or nothing where a question is about names that the gazetteer has never heard of."""
        level = _level(question)
        match question.kind:
            case "joint":
                return self._address
            case "judgment":
                return self._judgment(level, question.question)
            case "multiple_choice":
                return self._choice(level, question.options)
        return self._believed[level]

    def _judgment(self, level: Level, question: str) -> str | None:
        names = self._names[level]
        asked = [number for number, name in enumerate(names) if name in question]
        asked = [number for number in asked if asks_for(question, names[number], names)]
        if not asked:
            return None
        return _YES_NO[0] if self._scores[level][asked[0]] > self._shares[level][asked[0]] else _YES_NO[1]

    def _choice(self, level: Level, options: Sequence[str]) -> str | None:
        known = dict(zip(self._names[level], self._scores[level].tolist(), strict=True))
        scores = [known.get(option, -1.0) for option in options]
        best = max(scores)
        return LETTERS[scores.index(best)] if best >= 0 else None


def _level(question: Posed) -> Level:
    levels: dict[str, Level] = {"district": "district", "street": "street", "both": "both"}
    return levels[question.level]
