"""The real tokenizer of Phi-3-mini, with the picture token that LLaVA adds, and vectors of llama.cpp."""

import lzma
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

FOLDER = Path(__file__).parent / "specimens" / "phi-3-mini"
IMAGE_ID = 32_011  # the next free one; xtuner's folder has its own


@cache
def phi3_tokenizer() -> PreTrainedTokenizerFast:
    """As a model folder holds it: `<image>` added, the rest untouched."""
    tokenizer = plain_phi3_tokenizer()
    tokenizer.add_tokens([AddedToken("<image>", special=True, normalized=False)], special_tokens=True)
    return tokenizer


def plain_phi3_tokenizer() -> PreTrainedTokenizerFast:
    """Phi-3's own, which knows no pictures."""
    stored = lzma.decompress((FOLDER / "tokenizer.json.xz").read_bytes()).decode("utf-8")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(stored),
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
    )


def vectors() -> list[tuple[str, list[int]]]:
    """Texts of llama.cpp's test of this vocabulary, and the ids it expects."""
    texts = (FOLDER / "vectors.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    lines = (FOLDER / "vectors.out").read_text("ascii").split("\n")
    return [(text, [int(i) for i in line.split()]) for text, line in zip(texts, lines, strict=True)]
