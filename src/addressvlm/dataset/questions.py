"""What is asked about a photo: the templates of Tables B4 and B5, and how names are drawn for them.

A question is a template and an ending: the template asks for the name of a level, the ending says how to
answer. Levels are called what the city calls them: where a city has chome for districts, the word stands in
the question.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from addressvlm.dataset.answers import LETTERS, Kind, Level, joint_answer, normalise
from addressvlm.dataset.wording import lettered, mix_in, one_of
from addressvlm.geo.places import Address

NameLevel = Literal["district", "street"]
LEVELS: tuple[NameLevel, ...] = ("district", "street")

# Table B4.
TEMPLATES: Mapping[NameLevel, tuple[str, ...]] = {
    "district": (
        "Tell me the district where this image was captured.",
        "I'm curious about the district, where is this?",
        "In which urban district was this photo taken?",
        "Can you identify which district this is?",
        "What district is shown in this photograph?",
        "What major district does the photo fall under?",
        "I'm looking for the name of the district in this photo, can you help?",
        "Can you specify the district shown in this photo?",
        "Which district is depicted in the photo?",
        "What's the name of the district shown in the photo?",
    ),
    "street": (
        "Identify the street in this image, please.",
        "What is the street seen in this picture called?",
        "On which boulevard or street was this taken?",
        "Give me the name of the street that appears in this photograph.",
        "Where was this, can you name the street?",
        "What's the name of the avenue or street captured in this shot?",
        "The street in this image, what is it named?",
        "What's the name of this street shown in the photo?",
        "Can you tell me which road this is?",
        "What thoroughfare is depicted here?",
    ),
}
# Table B5; in brackets what is filled in.
ENDINGS = {
    "generation": "Answer the question using a single word or phrase.",
    "judgment": "Is this image taken [On STREET/IN DISTRICT], Yes or No?",
    "multiple_choice": "Which of the following [STREET/DISTRICT] correctly represents the location shown in "
    "the image? [OPTIONS]. Please select the correct option ([LETTERS]).",
}
# The template of the joint question is not printed in the paper; these are ours.
JOINT_TEMPLATES = (
    "On which street and in which district was this photo taken?",
    "Can you name both the street and the district shown in this image?",
    "What are the street and the district seen in this photograph?",
    "Where was this image captured? Tell me the street and the district.",
    "Which street is this, and which district is it in?",
)
JOINT_ENDING = "Answer with the street and the district, separated by a comma."


@dataclass(frozen=True)
class Question:
    """One question with its truth: a name, `Yes` or `No`, the letter of an option, or `STREET, DISTRICT`."""

    kind: Kind
    level: Level
    text: str
    options: tuple[str, ...]
    truth: str


class Names:
    """The names of one level with how many photos bear each: the distribution that wrong names come from."""

    def __init__(self, counts: Mapping[str, int]):
        self.names = sorted(counts)
        self._counts = np.array([counts[name] for name in self.names], np.float64)
        self._cumulative = np.cumsum(self._counts) / max(1.0, self._counts.sum())
        self._folded = np.array([normalise(name) for name in self.names], object)

    def draw(self, rng: np.random.Generator) -> str:
        """One name, each as probable as it is frequent."""
        place = np.searchsorted(self._cumulative[:-1], rng.random(), side="right")
        return self.names[int(place)]

    def draw_others(self, rng: np.random.Generator, truth: str, number: int) -> list[str]:
        """Up to `number` distinct names other than the truth, drawn one after the other without replacement.

        Fewer come back when there are no more names.
        """
        # Exponential clocks with the counts as rates ring in the order of weighted draws without replacement.
        clocks = -np.log1p(-rng.random(len(self.names))) / self._counts
        clocks[self._folded == normalise(truth)] = np.inf
        order = np.argsort(clocks, kind="stable")
        return [self.names[place] for place in order[:number] if np.isfinite(clocks[place])]


@dataclass(frozen=True)
class Vocabulary:
    """What a city calls its two levels, and the names of each among its training photos."""

    words: tuple[str, str]
    district: Names
    street: Names

    def names(self, level: NameLevel) -> Names:
        """The names of a level."""
        return self.district if level == "district" else self.street

    def word(self, level: str) -> str:
        """What the city calls a level."""
        return self.words[0] if level == "district" else self.words[1]

    def in_words(self, text: str) -> str:
        """A text of the paper with the city's own words for district and street."""
        return re.sub(r"\b(district|street)\b", lambda found: self.word(found[1]), text)


def plain_questions(words: tuple[str, str]) -> dict[Level, str]:
    """The first wording of the generation question of each level, and of the joint one.

    `words` is what a city calls its two levels.
    """
    vocabulary = Vocabulary(words, Names({}), Names({}))
    asked: dict[Level, str] = {level: f"{TEMPLATES[level][0]} {ENDINGS['generation']}" for level in LEVELS}
    plain = {level: vocabulary.in_words(text) for level, text in asked.items()}
    return {**plain, "both": joint_questions(words)[0]}


def joint_questions(words: tuple[str, str]) -> list[str]:
    """All wordings of the joint question, in a city's own words."""
    vocabulary = Vocabulary(words, Names({}), Names({}))
    return [vocabulary.in_words(f"{template} {JOINT_ENDING}") for template in JOINT_TEMPLATES]


def asks_for(question: str, name: str, names: Sequence[str]) -> bool:
    """Whether a question names `name`, and not a longer one of `names` of which it is a part."""
    return _says(question, name) and not any(
        _says(question, longer) for longer in names if len(longer) > len(name) and name in longer
    )


def _says(question: str, name: str) -> bool:
    return name in question and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", question) is not None


def test_questions(address: Address, vocabulary: Vocabulary, rng: np.random.Generator) -> list[Question]:
    """The up to nine questions that a photo is tested with.

    Of each level: generation, a judgment whose truth is Yes, one whose truth is No, a multiple choice; then
    the joint one. The name in the No question is drawn as it occurs among the training photos; when the draw
    hits the truth, the question is left out (this reproduces the questions per photo of Table B2). A multiple
    choice has four options, drawn alike; fewer where the city has fewer names, and is none where it has one.
    """
    questions: list[Question | None] = []
    for level in LEVELS:
        truth = name_of(address, level)
        questions.append(_generation(vocabulary, level, truth, rng))
        questions.append(_judgment(vocabulary, level, truth, truth, rng))
        questions.append(_judgment_no(vocabulary, level, truth, rng))
        questions.append(_multiple_choice(vocabulary, level, truth, rng))
    questions.append(_joint(vocabulary, address, rng))
    return [question for question in questions if question is not None]


def training_rounds(
    address: Address, vocabulary: Vocabulary, rng: np.random.Generator, *, rounds: int = 7
) -> list[Question]:
    """The questions of one training conversation, in shuffled order.

    `rounds` is 7 (the paper's text: generation, judgment and multiple choice of each level, and the joint
    one) or 3 (the paper's counts: one of each of the three types, its level drawn). A judgment is Yes or No
    with equal probability. Multiple choices are those of `test_questions`.
    """
    assert rounds in (3, 7), "DatasetOptions lets no other number through"
    questions: list[Question | None] = []
    for ask in (_generation, _fair_judgment, _multiple_choice):
        levels = LEVELS if rounds == 7 else (LEVELS[rng.integers(2)],)
        questions += [ask(vocabulary, level, name_of(address, level), rng) for level in levels]
    if rounds == 7:
        questions.append(_joint(vocabulary, address, rng))
    asked = [question for question in questions if question is not None]
    return [asked[place] for place in rng.permutation(len(asked))]


def name_of(address: Address, level: NameLevel) -> str:
    """The part of an address that a level names."""
    return address.district if level == "district" else address.street


def _generation(vocabulary: Vocabulary, level: NameLevel, truth: str, rng: np.random.Generator) -> Question:
    return Question("generation", level, _text(vocabulary, level, "generation", rng), (), truth)


def _judgment(
    vocabulary: Vocabulary, level: NameLevel, name: str, truth: str, rng: np.random.Generator
) -> Question:
    place = f"in {name}" if level == "district" else f"on {name}"
    text = _text(vocabulary, level, "judgment", rng, {"[On STREET/IN DISTRICT]": place})
    return Question("judgment", level, text, (), "Yes" if name == truth else "No")


def _judgment_no(
    vocabulary: Vocabulary, level: NameLevel, truth: str, rng: np.random.Generator
) -> Question | None:
    name = vocabulary.names(level).draw(rng)
    if normalise(name) == normalise(truth):
        return None
    return _judgment(vocabulary, level, name, truth, rng)


def _fair_judgment(
    vocabulary: Vocabulary, level: NameLevel, truth: str, rng: np.random.Generator
) -> Question:
    others = vocabulary.names(level).draw_others(rng, truth, 1)
    name = others[0] if others and rng.random() < 0.5 else truth
    return _judgment(vocabulary, level, name, truth, rng)


def _multiple_choice(
    vocabulary: Vocabulary, level: NameLevel, truth: str, rng: np.random.Generator
) -> Question | None:
    options = vocabulary.names(level).draw_others(rng, truth, len(LETTERS) - 1)
    if not options:
        return None
    options, letter = mix_in(truth, options, rng)
    filled = {
        "[STREET/DISTRICT]": vocabulary.word(level),
        "[LETTERS]": "/".join(LETTERS[: len(options)]),
        "[OPTIONS]": lettered(options),
    }
    text = _text(vocabulary, level, "multiple_choice", rng, filled)
    return Question("multiple_choice", level, text, tuple(options), letter)


def _joint(vocabulary: Vocabulary, address: Address, rng: np.random.Generator) -> Question:
    text = vocabulary.in_words(f"{one_of(rng, *JOINT_TEMPLATES)} {JOINT_ENDING}")
    return Question("joint", "both", text, (), joint_answer(address.district, address.street))


def _text(
    vocabulary: Vocabulary,
    level: NameLevel,
    kind: Kind,
    rng: np.random.Generator,
    filled: Mapping[str, str] | None = None,
) -> str:
    template = vocabulary.in_words(one_of(rng, *TEMPLATES[level]))
    ending = ENDINGS[kind]
    for gap, value in (filled or {}).items():
        ending = ending.replace(gap, value)
    return f"{template} {ending}"
