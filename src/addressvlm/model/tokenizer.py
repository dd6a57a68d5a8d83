"""The tokenizer of the mini models: byte-level BPE, 1,792 tokens, Phi-3's control tokens and template.

Any Unicode text encodes and decodes to itself. `python -m addressvlm.model.tokenizer` makes its file again,
to the same bytes.
"""

from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from addressvlm.model.corpus import corpus
from addressvlm.model.template import ASSISTANT, BOS, END, IMAGE, PHI3_TEMPLATE, SYSTEM, USER

ASSETS = Path(__file__).parent / "assets"
VOCABULARY = 1792

_PAD = "<pad>"
_END_OF_TEXT = "<|endoftext|>"

# As in Phi-3, role tokens and <|end|> swallow the line break behind them.
_SWALLOWING = (USER, ASSISTANT, SYSTEM, END)
_CONTROL = (_PAD, BOS, _END_OF_TEXT, *_SWALLOWING, IMAGE)

# GPT-2's, but digits one by one: house numbers and years must not fill the vocabulary.
_WORD = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


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
    """Learn the vocabulary from our own text (a few seconds); the same bytes every time."""
    tokenizer = Tokenizer(models.BPE())
    # A space in front of every text, so that a name is the same tokens as an answer and inside a question.
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    control = [
        AddedToken(text, rstrip=text in _SWALLOWING, normalized=False, special=True) for text in _CONTROL
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=control,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def main() -> None:
    """Write the tokenizer's file into the package."""
    ASSETS.mkdir(exist_ok=True)
    (ASSETS / "tokenizer.json").write_text(make_tokenizer().to_str(pretty=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
