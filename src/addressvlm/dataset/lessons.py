"""Lessons of pre-training: questions about a scene whose answers can be seen in the picture.

On a map they ask for what is written and where, in which direction a street runs, and on which of the
labelled streets the grafted photo was taken; the names are invented for that one map, so the answer must be
read and matched. On a street view they ask for what it shows. Answers come as in localization: a word or a
phrase, Yes or No, a letter, or whole sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from addressvlm.dataset.answers import LETTERS
from addressvlm.dataset.questions import ENDINGS
from addressvlm.dataset.scenes import Name, Picture, SceneFacts
from addressvlm.dataset.sights import presences, sights
from addressvlm.dataset.wording import capital, lettered, mix_in, one_of

PHRASE = ENDINGS["generation"]
_WORDS = ("Yes", "No")
# The nine cells of a picture, line by line.
CELLS = (
    *("in the upper left", "at the top", "in the upper right"),
    *("on the left", "in the middle", "on the right"),
    *("in the lower left", "at the bottom", "in the lower right"),
)
_COURSES = ("north to south", "northeast to southwest", "east to west", "northwest to southeast")


@dataclass(frozen=True)
class Lesson:
    """A question about a scene with its answer; `kind` says what it trains."""

    kind: str
    question: str
    answer: str


@dataclass(frozen=True)
class Lecture:
    """Lessons about one picture of a scene."""

    picture: Picture
    lessons: tuple[Lesson, ...]


@dataclass(frozen=True)
class Syllabus:
    """What is looked at, with its share, and what two of three lectures ask: the first of these there is."""

    pictures: Mapping[Picture, float]
    favourites: tuple[str, ...]


# Reading, matching and seeing; then less of pages, which the tower goes on reading beside it, and single
# names instead of whole lists.
FIRST = Syllabus(
    {"page": 0.2, "named": 0.1, "grafted": 0.5, "view": 0.18, "plain": 0.02}, ("match", "names", "describe")
)
LATER = Syllabus(
    {"page": 0.08, "grafted": 0.5, "view": 0.38, "plain": 0.04}, ("match", "name at", "describe")
)
_ANYWHERE = 1 / 3  # how often matches are asked where the photo is not in the middle
_FAVOURED = 2 / 3


def lecture(
    facts: SceneFacts,
    other_names: Sequence[str],
    side_px: int,
    rng: np.random.Generator,
    syllabus: Syllabus = LATER,
) -> Lecture:
    """Draw a picture of the scene, and a phrase, a judgment and a choice about it, as stage 2 asks.

    `other_names` are street names that do not stand on this map, for wrong answers; pictures have `side_px`.
    """
    shares = syllabus.pictures
    picture = list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]
    known = lessons(facts, picture, other_names, side_px, rng)
    if not facts.is_centred(side_px) and rng.random() >= _ANYWHERE:
        known = [lesson for lesson in known if not lesson.kind.startswith("match")]
    phrases = [lesson for lesson in known if lesson.answer not in (*_WORDS, *LETTERS)]
    kinds = {lesson.kind for lesson in phrases}
    favourite = next((kind for kind in syllabus.favourites if kind in kinds), None)
    if favourite and rng.random() < _FAVOURED:
        phrases = [lesson for lesson in phrases if lesson.kind == favourite]
    judgments = [lesson for lesson in known if lesson.answer in _WORDS]
    choices = [lesson for lesson in known if lesson.answer in LETTERS]
    drawn = [group[int(rng.integers(len(group)))] for group in (phrases, judgments, choices) if group]
    return Lecture(picture, tuple(drawn))


def lessons(
    facts: SceneFacts, picture: Picture, other_names: Sequence[str], side_px: int, rng: np.random.Generator
) -> list[Lesson]:
    """All lessons about a picture of the scene, one of each sort that it has."""
    if picture == "view":
        return _about_view(facts, rng)
    written = {"grafted": facts.names, "named": facts.names, "page": facts.page, "plain": ()}[picture]
    found = _about_names(written, other_names, side_px, rng)
    if picture == "grafted":
        found += _about_streets(written, rng) + _about_match(facts, side_px, rng)
    return found


def _about_names(
    names: Sequence[Name], other_names: Sequence[str], side_px: int, rng: np.random.Generator
) -> list[Lesson]:
    listed = [name.name for name in sorted(names, key=lambda name: (name.box[1] + name.box[3], name.box[0]))]
    question = one_of(
        rng,
        "Which names are written in the image?",
        "Read the names in the image, from top to bottom.",
        "What is written in the image?",
    )
    found = [Lesson("names", question, f"{', '.join(listed)}." if listed else "Nothing.")]
    if names:
        found += _about_one_name(names, side_px, rng)
    others = [name for name in other_names if name not in listed]
    if others:
        found += _about_presence(listed, others, rng)
    return found


def _about_one_name(names: Sequence[Name], side_px: int, rng: np.random.Generator) -> list[Lesson]:
    cells = [_cell(name.middle, side_px) for name in names]
    alone = [place for place, cell in enumerate(cells) if cells.count(cell) == 1]
    found = []
    if alone:
        place = alone[int(rng.integers(len(alone)))]
        question = one_of(
            rng, f"Which name is written {cells[place]}?", f"Read the name that is written {cells[place]}."
        )
        found.append(Lesson("name at", f"{question} {PHRASE}", names[place].name))
    place = int(rng.integers(len(names)))
    question = f"Where in the image is {names[place].name} written? {PHRASE}"
    return [*found, Lesson("place of", question, capital(cells[place]))]


def _about_presence(listed: Sequence[str], others: Sequence[str], rng: np.random.Generator) -> list[Lesson]:
    wrong = [others[place] for place in rng.permutation(len(others))[: len(LETTERS) - 1]]
    truth = bool(listed) and rng.random() < 0.5
    name = listed[int(rng.integers(len(listed)))] if truth else wrong[0]
    found = [Lesson("is written", f"Is {name} written in the image, Yes or No?", _yes(truth))]
    if listed and len(wrong) == len(LETTERS) - 1:
        right = listed[int(rng.integers(len(listed)))]
        found.append(
            _choice("which is written", "Which of the following is written in the image?", right, wrong, rng)
        )
    return found


def _about_streets(names: Sequence[Name], rng: np.random.Generator) -> list[Lesson]:
    if not names:
        return []
    name = names[int(rng.integers(len(names)))]
    question = f"In which direction does {name.name} run? {PHRASE}"
    return [Lesson("course", question, f"From {_course(name)}")]


def _about_match(facts: SceneFacts, side_px: int, rng: np.random.Generator) -> list[Lesson]:
    place = _cell(facts.at, side_px)
    question = f"In which part of the map was the street view taken? {PHRASE}"
    found = [Lesson("place of photo", question, capital(place))]
    own = next((name for name in facts.names if name.name == facts.street), None)
    if own is None:
        return found
    question = one_of(
        rng,
        "On which of the labelled streets was the street view taken?",
        "Which street on the map is the street view from?",
        "Match the street view with the map: on which street was it taken?",
    )
    found.append(Lesson("match", f"{question} {PHRASE}", own.name))
    found.append(
        Lesson(
            "match",
            "On which street was the street view in the right-upper corner taken? "
            "Explain how it matches the satellite view.",
            _explained(facts, own, place, rng),
        )
    )
    wrong = [name.name for name in facts.names if name is not own]
    if wrong:
        name = own.name if rng.random() < 0.5 else wrong[int(rng.integers(len(wrong)))]
        question = f"Was the street view taken on {name}, Yes or No?"
        found.append(Lesson("match yes", question, _yes(name == own.name)))
        question = "Which of the following streets was the street view taken on?"
        wrong = [wrong[place] for place in rng.permutation(len(wrong))[: len(LETTERS) - 1]]
        found.append(_choice("match which", question, own.name, wrong, rng))
    return found


def _explained(facts: SceneFacts, own: Name, place: str, rng: np.random.Generator) -> str:
    """Address first, then what the photo shows, then where that is on the map."""
    spot = f"on {own.name}"
    if facts.cross_street in [name.name for name in facts.names]:
        spot = f"near the corner of {own.name} and {facts.cross_street}"
    seen = facts.words.split(". ")[0].rstrip(".")
    seen = seen[:1].lower() + seen[1:]
    opening = one_of(rng, "The street view shows", "At street level one sees")
    return (
        f"The street view in the right-upper corner was taken {spot}. {opening} {seen}. "
        f"On the satellite view {own.name} runs from {_course(own)}, and the photo was taken {place}."
    )


def _about_view(facts: SceneFacts, rng: np.random.Generator) -> list[Lesson]:
    question = one_of(
        rng, "Describe the street view.", "What does the photo show?", "What can be seen in this image?"
    )
    found = [Lesson("describe", question, facts.words)]
    for sight in sights(facts.view):
        kind = f"view {sight.kind}"
        found.append(Lesson(kind, f"{sight.question} {PHRASE}", sight.answer))
        others = [value for value in sight.pool if value != sight.answer]
        if others:
            wrong = [others[place] for place in rng.permutation(len(others))[: len(LETTERS) - 1]]
            found.append(_choice(f"{kind}, choice", sight.question, sight.answer, wrong, rng))
            right = rng.random() < 0.5
            question = f"{sight.question} Is it {sight.answer if right else wrong[0]}, Yes or No?"
            found.append(Lesson(f"{kind}, judgment", question, _yes(right)))
    things = presences(facts.view)
    noun, there = things[int(rng.integers(len(things)))]
    found.append(Lesson("view thing", f"Does the photo show {noun}, Yes or No?", _yes(there)))
    question = "Is the photo taken at a corner, Yes or No?"
    return [*found, Lesson("view corner", question, _yes(facts.view["corner"]))]


def _choice(kind: str, question: str, right: str, wrong: Sequence[str], rng: np.random.Generator) -> Lesson:
    options, letter = mix_in(right, wrong, rng)
    letters = "/".join(LETTERS[: len(options)])
    text = f"{question} {lettered(options)}. Please select the correct option ({letters})."
    return Lesson(kind, text, letter)


def cell_of(point: tuple[float, float], side_px: int) -> int:
    """Which of the nine cells of a picture a point (across, down) lies in, line by line."""
    column, row = (min(2, int(3 * value / side_px)) for value in point)
    return 3 * row + column


def _cell(point: tuple[float, float], side_px: int) -> str:
    """Where on the picture a point lies, in words."""
    return CELLS[cell_of(point, side_px)]


def _course(name: Name) -> str:
    return _COURSES[int((name.course_deg + 22.5) // 45) % 4]


def _yes(holds: bool) -> str:
    return "Yes" if holds else "No"
