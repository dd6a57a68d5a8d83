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


def none_of_these(log_p: Floats) -> Floats:
    """The probability of answers that are none of the names, (…), from log-probabilities (…, names)."""
    rest: Floats = np.maximum(0.0, 1.0 - np.exp(log_p).sum(axis=-1))
    return rest
