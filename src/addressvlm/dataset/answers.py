"""Reading answers back: is what a model said the truth?

Two readings stand beside each other. The strict one wants the very characters of the truth. The usual one
compares after `normalise` and allows what people (and models) do with the form of an answer: "Yes, it is",
"(B)", "B.", "B) Forbes Avenue", the text of an option instead of its letter, district before street. It never
guesses: a name inside a longer sentence, an abbreviation or a misspelling does not count.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

Kind = Literal["generation", "judgment", "multiple_choice", "joint"]
Level = Literal["district", "street", "both"]

LETTERS = "ABCD"

_APOSTROPHES = str.maketrans("", "", "'’‘`´")
_LETTER = re.compile(r"\(?([A-Da-d])(?![^\W_])\)?[.:,]?")


def is_correct(
    kind: str, level: str, answer: str, truth: str, *, options: Sequence[str] = (), strict: bool = False
) -> bool:
    """Whether `answer` is the truth of a question of this kind and level.

    `options` are those of a multiple choice, in the order of their letters. A judgment is told by its first
    word. The two names of a joint answer may come in either order with a comma between them, or as "STREET in
    DISTRICT".
    """
    if strict:
        return answer.strip() == truth
    match kind:
        case "judgment":
            return read_judgment(answer) == truth
        case "multiple_choice":
            return read_choice(answer, options) == truth
        case "joint":
            return _names_both(answer, truth)
    return normalise(answer) == normalise(truth)


@lru_cache(maxsize=2**16)  # the names of a city come again and again
def normalise(text: str) -> str:
    """Fold case and compatibility forms (NFKC), drop apostrophes, make other punctuation single spaces.

    "St. Mary's Road." becomes "st marys road". Accents stay: they tell names apart. A text of punctuation
    only stays itself.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = "".join(
        " " if unicodedata.category(character).startswith("P") else character
        for character in folded.translate(_APOSTROPHES)
    ).split()
    return " ".join(words) if words else folded.strip()


def read_judgment(answer: str) -> str | None:
    """`Yes` or `No` by the first word, None if it is neither."""
    first = normalise(answer).partition(" ")[0]
    return {"yes": "Yes", "no": "No"}.get(first)


def read_choice(answer: str, options: Sequence[str]) -> str | None:
    """The letter that an answer to a multiple choice means, or None.

    A letter may stand in brackets, with a full stop, and before the text of its own option; before another
    option's text it means nothing. Without a letter, the text of exactly one option means that option.
    """
    texts = [normalise(option) for option in options]
    letters = LETTERS[: len(options)] if options else LETTERS
    marked = _LETTER.match(answer.strip())
    if marked and (letter := marked[1].upper()) in letters:
        rest = normalise(answer.strip()[marked.end() :])
        if not rest or (texts and rest == texts[letters.index(letter)]):
            return letter
    meant = [letter for letter, text in zip(letters, texts, strict=False) if text == normalise(answer)]
    return meant[0] if len(meant) == 1 else None


def joint_answer(district: str, street: str) -> str:
    """The one form of a joint answer that we write ourselves: STREET, DISTRICT."""
    return f"{street}, {district}"


def _names_both(answer: str, truth: str) -> bool:
    # A name may itself hold a comma, so every comma is tried as the one between the two.
    true = set(_halves(truth, ","))
    stated = set(_halves(answer, ","))
    swapped = {(second, first) for first, second in stated}
    return not true.isdisjoint(stated | swapped | set(_halves(answer, r"\sin\s")))


def _halves(text: str, separator: str) -> Iterator[tuple[str, str]]:
    """The text cut in two, in every way that leaves something on both sides, each half normalised."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    for cut in re.finditer(separator, folded):
        halves = normalise(folded[: cut.start()]), normalise(folded[cut.end() :])
        if all(halves):
            yield halves
