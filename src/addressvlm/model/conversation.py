"""Questions and answers as token ids, and which of them are learned: the same in training and in inference.

For the paper's model the text is Phi-3's, as xtuner writes it for LLaVA, one `<s>` and no end of text:

    <s><|user|>\\n<image>\\nQ1<|end|>\\n<|assistant|>\\nA1<|end|>\\n<|user|>\\nQ2<|end|>\\n<|assistant|>\\nA2<|end|>\\n

Other models have other templates (`model/template.py`). Control tokens are put in as ids (Phi-3's swallow the
line break behind them), and what is asked and what is answered are encoded apart: the prompt of an inference
is always a prefix of what was trained, and no text of a user can become a control token or a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Literal

from transformers import PreTrainedTokenizerBase

from addressvlm.model.template import Piece, template_of
from addressvlm.model.tokentree import TokenTree

IGNORED = -100


@dataclass(frozen=True)
class Turn:
    """A question and its answer; None is the answer that the model is to give."""

    question: str
    answer: str | None


Rounds = Literal["chain", "star"]


@dataclass(frozen=True)
class Encoded:
    """Token ids of a conversation, and the same ids where they are learned, `IGNORED` elsewhere.

    `parents` are those of its `TokenTree`.
    """

    ids: list[int]
    labels: list[int]
    parents: list[int]

    @property
    def tree(self) -> TokenTree:
        """The conversation as a tree: a chain, or a star of rounds."""
        return TokenTree(self.ids, self.parents)


def encode_conversation(
    tokenizer: PreTrainedTokenizerBase,
    turns: Sequence[Turn],
    *,
    image_tokens: int,
    images: int = 1,
    rounds: Rounds = "chain",
) -> Encoded:
    """Encode turns about `images` pictures of `image_tokens` tokens each, which stand in the first question.

    Labels are on every answer and its `<|end|>` (Sec. 4.1: loss on the answers of every turn). Only the last
    answer may be None: then the ids end where the model goes on.

    `rounds` is `chain`, where a round sees all earlier ones (the paper), or `star`, where each sees the
    pictures and itself, exactly as when it is asked alone.
    """
    assert turns, "a conversation has at least one turn"
    if rounds == "star" and len(turns) > 1:
        alone = [
            encode_conversation(tokenizer, [turn], image_tokens=image_tokens, images=images) for turn in turns
        ]
        return _star(alone, template_of(tokenizer).picture_token)
    template = template_of(tokenizer)
    ids: list[int] = []
    labels: list[int] = []

    def add(*pieces: int | str, learned: bool = False) -> None:
        tokens = _tokens(tokenizer, pieces)
        ids.extend(tokens)
        labels.extend(tokens if learned else [IGNORED] * len(tokens))

    before: Piece = template.opening
    for number in range(images):
        before = (*before, *template.picture(number, image_tokens), *template.after_picture)
    for number, turn in enumerate(turns):
        add(*before, turn.question.strip(), *template.before_answer)
        if turn.answer is None:
            assert number == len(turns) - 1, "only the last answer may be open"
        else:
            add(*answer_tokens(tokenizer, turn.answer), template.end, learned=True)
        before = template.next_question
    return Encoded(ids, labels, list(range(-1, len(ids) - 1)))


def answer_tokens(tokenizer: PreTrainedTokenizerBase, answer: str) -> tuple[int, ...]:
    """The tokens of an answer as they follow a question, without its end; () for an empty one."""
    answer = answer.strip()
    return encode_text(tokenizer, template_of(tokenizer).lead + answer) if answer else ()


def _tokens(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[int | str]) -> list[int]:
    """Control tokens as they are; texts that stand side by side are one text."""
    tokens: list[int] = []
    for is_text, together in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        if is_text:
            tokens += encode_text(tokenizer, "".join(map(str, together)))
        else:
            tokens += [int(piece) for piece in together]
    return tokens


def _star(rounds: Sequence[Encoded], image: int) -> Encoded:
    """Rounds about the same pictures, whose last token is `image`, as branches of one tree."""
    shared = len(rounds[0].ids) - rounds[0].ids[::-1].index(image)
    ids, labels, parents = (
        list(part[:shared]) for part in (rounds[0].ids, rounds[0].labels, rounds[0].parents)
    )
    for one in rounds:
        assert one.ids[:shared] == ids[:shared], "all rounds begin with the pictures"
        parents += [shared - 1, *range(len(ids), len(ids) + len(one.ids) - shared - 1)]
        ids += one.ids[shared:]
        labels += one.labels[shared:]
    return Encoded(ids, labels, parents)


@lru_cache(maxsize=1 << 16)  # a data set asks in a few dozen wordings and answers with a few hundred names
def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """The ids of plain text: no control token is looked for in it, none can come out.

    Goes through the stages of the tokenizer without its added tokens, because `split_special_tokens=True`
    lets those pass that are not marked special (Phi-3's `</s>`).
    """
    text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates are no text
    backend = tokenizer.backend_tokenizer
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [text]
    if backend.pre_tokenizer is not None:
        words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return tuple(token.id for word in words for token in backend.model.tokenize(word))
