"""What a model holds of a photo: the exact probability of every district, street and pair, in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from addressvlm.dataset.answers import Level
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.nametrie import Floats, NameTrie
from addressvlm.inference.onepass import read_questions
from addressvlm.inference.prompts import Sight
from addressvlm.model.backbone import Backbone

LEVELS: tuple[Level, ...] = ("district", "street", "both")


@dataclass(frozen=True)
class Belief:
    """Natural logarithms of the probabilities of all names of a gazetteer, for one photo.

    `district` (districts,), `street` (streets,) and `both` (pairs,) are the answers to three questions. What
    is missing from 1 is the probability of answers that are no name of the level.
    """

    gazetteer: Gazetteer
    district: Floats
    street: Floats
    both: Floats

    def of(self, level: Level) -> Floats:
        """The log-probabilities of a level."""
        values: Floats = getattr(self, level)
        return values

    def none_of_these(self, level: Level) -> float:
        """The probability of an answer that is no name of this level."""
        return float(max(0.0, 1.0 - np.exp(self.of(level)).sum()))


def tries_of(gazetteer: Gazetteer, backbone: Backbone) -> dict[Level, NameTrie]:
    """The names of every level as tries of tokens."""
    pairs = [(name,) for name in gazetteer.pair_names]
    return {
        "district": NameTrie(gazetteer.spellings["district"], backbone),
        "street": NameTrie(gazetteer.spellings["street"], backbone),
        "both": NameTrie(pairs, backbone),
    }


def believe(
    backbone: Backbone,
    gazetteer: Gazetteer,
    tries: Mapping[Level, NameTrie],
    sights: Sequence[Sight],
    *,
    temperature: float = 1.0,
) -> list[Belief]:
    """The belief behind each sight, whose three questions are about `LEVELS` in their order."""
    scores = score_names(backbone, [tries[level] for level in LEVELS], sights, temperature=temperature)
    return [Belief(gazetteer, *row) for row in zip(*scores, strict=True)]


def score_names(
    backbone: Backbone, tries: Sequence[NameTrie], sights: Sequence[Sight], *, temperature: float = 1.0
) -> list[Floats]:
    """The log-probabilities of all names, (sights, names) for each trie.

    The questions of a sight are those to which the names of the tries are answers, one each, in their order.
    """
    reading, hidden = read_questions(backbone, sights)
    expected = reading.logits(hidden).view(len(sights), len(tries), -1)
    ends = reading.tips
    return [
        trie.score(reading, [row[number] for row in ends], expected[:, number], temperature=temperature)
        for number, trie in enumerate(tries)
    ]
