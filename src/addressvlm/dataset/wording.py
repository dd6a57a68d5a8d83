"""Small things that all texts of a data set are made with."""

from collections.abc import Sequence

import numpy as np

from addressvlm.dataset.answers import LETTERS


def one_of(rng: np.random.Generator, *texts: str) -> str:
    """One of the texts, each as likely as the others."""
    return texts[int(rng.integers(len(texts)))]


def capital(text: str) -> str:
    """The text with a capital letter in front."""
    return text[:1].upper() + text[1:]


def mix_in(right: str, wrong: Sequence[str], rng: np.random.Generator) -> tuple[list[str], str]:
    """The options of a multiple choice, the right one at a random place, and its letter."""
    place = int(rng.integers(len(wrong) + 1))
    return [*wrong[:place], right, *wrong[place:]], LETTERS[place]


def lettered(options: Sequence[str]) -> str:
    """The options as they stand in a question: `(A) ONE (B) OTHER`."""
    return " ".join(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
