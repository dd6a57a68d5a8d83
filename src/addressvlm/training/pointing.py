"""Where a model shall look while it writes a name that stands on the picture."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from addressvlm.dataset.scenes import Name
from addressvlm.model.conversation import IGNORED, Encoded
from addressvlm.model.template import template_of
from addressvlm.training.reading import UNKNOWN, patch_of

_Middle = tuple[float, float]


def points_of(
    encoded: Encoded,
    answers: Sequence[str],
    words: Sequence[Name],
    tokenizer: PreTrainedTokenizerBase,
    patch_px: int,
    side: int,
) -> npt.NDArray[np.int64]:
    """For every token of a conversation the one to look at, (tokens,); UNKNOWN where nothing is copied.

    The token that is followed by a part of one of the `words` looks at the patch in which that part begins.
    The conversation is about one picture of `side` x `side` patches.
    """
    points = np.full(len(encoded.ids), UNKNOWN)
    picture = encoded.ids.index(template_of(tokenizer).picture_token)
    labels = np.array(encoded.labels)
    before = np.flatnonzero((labels[1:] != IGNORED) & (labels[:-1] == IGNORED))  # the answers
    for begin, answer in zip(before.tolist(), answers, strict=True):
        for place, middle in enumerate(_middles(answer, words, tokenizer), begin):
            if middle is not None:
                points[place] = picture + patch_of(middle, patch_px, side)
    return points


def _middles(
    answer: str, words: Sequence[Name], tokenizer: PreTrainedTokenizerBase
) -> Iterator[_Middle | None]:
    """For every token of an answer, where its first letter stands on the picture if it belongs to a word."""
    text = template_of(tokenizer).lead + answer
    places: list[_Middle | None] = [None] * len(text)
    for word in sorted(words, key=lambda word: len(word.name)):  # the longer one where two fit
        begin = text.find(word.name)
        while begin >= 0:
            places[begin : begin + len(word.name)] = word.middles
            begin = text.find(word.name, begin + 1)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    for start, end in encoded["offset_mapping"]:
        yield places[start + (text[start] == " " and end > start + 1)]
