"""What a model holds of photos: the exact probability of every district, street and pair, in one pass."""

from collections.abc import Sequence

import numpy as np

from addressvlm.dataset.answers import Level
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.nametrie import Floats, NameTrie
from addressvlm.inference.onepass import read_questions
from addressvlm.inference.prompts import Sight
from addressvlm.model.backbone import Backbone


def tries_of(gazetteer: Gazetteer, backbone: Backbone) -> dict[Level, NameTrie]:
    """The names of every level as tries of tokens; those of `both` are the pairs."""
    pairs = [(name,) for name in gazetteer.pair_names]
    return {
        "district": NameTrie(gazetteer.spellings["district"], backbone),
        "street": NameTrie(gazetteer.spellings["street"], backbone),
        "both": NameTrie(pairs, backbone),
    }


def score_names(
    backbone: Backbone,
    sights: Sequence[Sight],
    tries: Sequence[Sequence[NameTrie]],
    *,
    temperature: float = 1.0,
) -> list[list[Floats]]:
    """The log-probabilities (names,) of all names as answers to every question of every sight.

    `tries` are the names to each question, sight by sight; questions with the same one are looked at at once.
    """
    reading, hidden = read_questions(backbone, sights)
    expected = reading.logits(hidden)
    ends = reading.tips
    scores: list[list[Floats]] = [[np.empty(0)] * len(row) for row in tries]
    asked = [
        (row, number, trie) for row, of_sight in enumerate(tries) for number, trie in enumerate(of_sight)
    ]
    for trie in dict.fromkeys(trie for _, _, trie in asked):
        numbers = [place for place, (_, _, other) in enumerate(asked) if other is trie]
        behind: list[list[int]] = [[] for _ in sights]
        for row, number, _ in (asked[place] for place in numbers):
            behind[row].append(ends[row][number])
        found = trie.score(reading, behind, expected[numbers], temperature=temperature)
        for (row, number, _), score in zip((asked[place] for place in numbers), found, strict=True):
            scores[row][number] = score
    return scores


def none_of_these(log_p: Floats) -> Floats:
    """The probability of answers that are none of the names, (…), from log-probabilities (…, names)."""
    rest: Floats = np.maximum(0.0, 1.0 - np.exp(log_p).sum(axis=-1))
    return rest
