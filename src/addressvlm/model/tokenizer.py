"""The tokenizer of the mini models: byte-level, 1,792 tokens, Phi-3's control tokens and template.

The vocabulary is learned by byte-pair encoding, but text falls into the most probable tokens (a unigram
model, Kudo 2018), not into those that were merged first: Kawa·mura and Kita·mura, as the names were made, and
not Kaw·amura and Kit·am·ura. What a patch of a picture has to tell then hangs on the letters that lie there
and next to it.

Any Unicode text encodes and decodes to itself. `python -m addressvlm.model.tokenizer` makes its file again,
to the same bytes.
"""

import math
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from addressvlm.model.corpus import SEAM, corpus
from addressvlm.model.template import ASSISTANT, BOS, END, IMAGE, PHI3_TEMPLATE, SYSTEM, USER

ASSETS = Path(__file__).parent / "assets"
VOCABULARY = 1792

_ROUNDS = 3  # in which text is split, tokens are counted, and text is split again
_PAD = "<pad>"
_END_OF_TEXT = "<|endoftext|>"

# As in Phi-3, role tokens and <|end|> swallow the line break behind them.
_SWALLOWING = (USER, ASSISTANT, SYSTEM, END)
_CONTROL = (_PAD, BOS, _END_OF_TEXT, *_SWALLOWING, IMAGE)

# GPT-2's, but digits one by one: house numbers and years must not fill the vocabulary. A hyphen belongs to
# the word behind it: by itself it would stand in many names, and what comes next be another thing in each.
_WORD = r"'(?:[sdmt]|ll|ve|re)|[ -]?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def mini_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the mini presets, read from the package."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(ASSETS / "tokenizer.json"),
        bos_token=BOS,
        eos_token=_END_OF_TEXT,
        pad_token=_PAD,
        extra_special_tokens={"image_token": IMAGE},
        chat_template=PHI3_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=4096,
    )


def make_tokenizer() -> Tokenizer:
    """Learn vocabulary and probabilities from our own text (a few seconds); the same bytes every time."""
    control = [
        AddedToken(text, rstrip=text in _SWALLOWING, normalized=False, special=True) for text in _CONTROL
    ]
    learned = _byte_level(models.BPE(), seams=True)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=control,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learned.train_from_iterator(corpus(), trainer)
    tokens = sorted(learned.get_vocab().items(), key=lambda item: item[1])
    scores = [(token, -1.0) for token, _ in tokens]  # at first the fewest tokens are the most probable
    for _ in range(_ROUNDS):
        scores = _probabilities(_byte_level(models.Unigram(scores), seams=True), scores)
    tokenizer = _byte_level(models.Unigram(scores))
    tokenizer.add_special_tokens(control)
    return tokenizer


def _byte_level(model: models.Model, *, seams: bool = False) -> Tokenizer:
    """A tokenizer around a model; with `seams` no token reaches over one."""
    tokenizer = Tokenizer(model)
    # A space in front of every text, so that a name is the same tokens as an answer and inside a question.
    tokenizer.normalizer = normalizers.Prepend(" ")
    at_seams = [pre_tokenizers.Split(SEAM, behavior="removed")] if seams else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), behavior="isolated"),
            *at_seams,
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def _probabilities(tokenizer: Tokenizer, scores: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Log probabilities of the tokens, from how often the corpus falls into them; none is impossible."""
    counts = Counter(token for line in tokenizer.encode_batch(list(corpus())) for token in line.tokens)
    total = counts.total() + len(scores)
    return [(token, math.log((counts[token] + 1) / total)) for token, _ in scores]


def main() -> None:
    """Write the tokenizer's file into the package."""
    ASSETS.mkdir(exist_ok=True)
    (ASSETS / "tokenizer.json").write_text(make_tokenizer().to_str(pretty=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
