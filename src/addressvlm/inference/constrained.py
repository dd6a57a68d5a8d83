"""Answers that cannot be nonsense: the likeliest of those that a question allows, and of the gazetteer.

`closed`: a real street, a real district, a real pair, Yes or No, one of the letters. `joint`: the names of
the likeliest pair, also for the questions about street or district alone, so that they agree with each other
and with the gazetteer. The paper's answers are open: whatever the model says.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from addressvlm.dataset.answers import LETTERS, Level
from addressvlm.inference.beliefs import score_names
from addressvlm.inference.localizer import ROOM_FOR_A_NAME, Localizer
from addressvlm.inference.nametrie import NameTrie
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

    A photo without joint question has nothing for its names to agree with: its joint answers are closed.
    """
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
            likeliest = [int(score.argmax()) for score in found]
            pair = next(
                (choices.pairs[n] for n, q in zip(likeliest, questions, strict=True) if q.kind == "joint"),
                None,
            )
            for question, number in zip(questions, likeliest, strict=True):
                closed = choices.texts(question)[number]
                agreed = pair is not None and question.kind == "generation"
                yield {"closed": closed, "joint": pair[question.level] if pair and agreed else closed}


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
        self.pairs = [
            {"district": names.districts[district], "street": names.streets[street]}
            for district, street in names.pairs
        ]

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


def _level(question: Posed) -> Level:
    levels: dict[str, Level] = {"district": "district", "street": "street", "both": "both"}
    return levels[question.level]
