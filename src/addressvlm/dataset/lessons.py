"""Lessons of pre-training: questions about a scene whose answers can be seen in the picture.

On a map they ask for what is written and where, in which direction a street runs, and on which of the
labelled streets the grafted photo was taken; the names are invented for that one map, so the answer must be
read and matched. On a street view they ask for what it shows. Answers come as in localization: a word or a
phrase, Yes or No, a letter, or whole sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from addressvlm.dataset.answers import LETTERS
from addressvlm.dataset.scenes import Name, Picture, SceneFacts

PHRASE = "Answer the question using a single word or phrase."
_COURSES = ("north to south", "northeast to southwest", "east to west", "northwest to southeast")
_SENTENCE_END = "."
_NUMBERS = (
    *("Zero", "One", "Two", "Three", "Four", "Five", "Six"),
    *("Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"),
)
_SIDES = {"left": "on the left", "middle": "in the middle", "right": "on the right"}


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


# What is looked at, with its share: maps with a photo most of all.
_PICTURES: dict[Picture, float] = {"grafted": 0.5, "view": 0.38, "page": 0.08, "plain": 0.04}
_MOST = 3  # lessons of a lecture


def lecture(facts: SceneFacts, other_names: Sequence[str], side_px: int, rng: np.random.Generator) -> Lecture:
    """Draw a picture of the scene and up to three lessons about it.

    `other_names` are street names that do not stand on this map, for wrong answers; pictures have `side_px`.
    """
    picture = list(_PICTURES)[int(rng.choice(len(_PICTURES), p=list(_PICTURES.values())))]
    known = lessons(facts, picture, other_names, side_px, rng)
    first = [lesson for lesson in known if lesson.kind in ("match", "describe")]
    chosen = [known[place] for place in rng.permutation(len(known))[:_MOST]]
    if first and rng.random() < 0.5:
        one = first[int(rng.integers(len(first)))]
        chosen = [one, *(lesson for lesson in chosen if lesson is not one)][:_MOST]
    return Lecture(picture, tuple(chosen))


def lessons(
    facts: SceneFacts, picture: Picture, other_names: Sequence[str], side_px: int, rng: np.random.Generator
) -> list[Lesson]:
    """All lessons about a picture of the scene, one of each sort that it has."""
    if picture == "view":
        return _about_view(facts.view, facts.words, rng)
    written = {"grafted": facts.names, "named": facts.names, "page": facts.page, "plain": ()}[picture]
    found = _about_names(written, other_names, side_px, rng)
    if picture == "grafted":
        found += _about_streets(written, rng) + _about_match(facts, side_px, rng)
    return found


def _about_names(
    names: Sequence[Name], other_names: Sequence[str], side_px: int, rng: np.random.Generator
) -> list[Lesson]:
    listed = [name.name for name in sorted(names, key=lambda name: (name.box[1] + name.box[3], name.box[0]))]
    question = _one_of(
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
    cells = [_cell(*_middle(name), side_px) for name in names]
    alone = [place for place, cell in enumerate(cells) if cells.count(cell) == 1]
    found = []
    if alone:
        place = alone[int(rng.integers(len(alone)))]
        question = _one_of(
            rng, f"Which name is written {cells[place]}?", f"Read the name that is written {cells[place]}."
        )
        found.append(Lesson("name at", f"{question} {PHRASE}", names[place].name))
    place = int(rng.integers(len(names)))
    question = f"Where in the image is {names[place].name} written? {PHRASE}"
    return [*found, Lesson("place of", question, _capital(cells[place]))]


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
    place = _cell(*facts.at, side_px)
    question = f"In which part of the map was the street view taken? {PHRASE}"
    found = [Lesson("place of photo", question, _capital(place))]
    own = next((name for name in facts.names if name.name == facts.street), None)
    if own is None:
        return found
    question = _one_of(
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
    seen = facts.words.split(". ")[0].rstrip(_SENTENCE_END)
    seen = seen[:1].lower() + seen[1:]
    opening = _one_of(rng, "The street view shows", "At street level one sees")
    return (
        f"The street view in the right-upper corner was taken {spot}. {opening} {seen}. "
        f"On the satellite view {own.name} runs from {_course(own)}, and the photo was taken {place}."
    )


def _about_view(view: dict[str, Any], words: str, rng: np.random.Generator) -> list[Lesson]:
    question = _one_of(
        rng, "Describe the street view.", "What does the photo show?", "What can be seen in this image?"
    )
    found = [Lesson("describe", question, words)]
    found += [
        Lesson(f"view {kind}", f"{text} {PHRASE}", answer) for kind, text, answer in _plain_questions(view)
    ]
    things = _things(view)
    noun, there = things[int(rng.integers(len(things)))]
    found.append(Lesson("view thing", f"Does the photo show {noun}, Yes or No?", _yes(there)))
    question = "Is the photo taken at a corner, Yes or No?"
    found.append(Lesson("view corner", question, _yes(view["corner"])))
    options = [
        (kind, text, answer, pool)
        for kind, text, answer in _plain_questions(view)
        if (pool := _POOLS.get(kind)) and answer in pool
    ]
    if options:
        kind, text, answer, pool = options[int(rng.integers(len(options)))]
        others = [value for value in pool if value != answer]
        wrong = [others[place] for place in rng.permutation(len(others))[: len(LETTERS) - 1]]
        found.append(_choice(f"view {kind} which", text, answer, wrong, rng))
    return found


def _plain_questions(view: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(kind, question, answer) about what a view shows beyond doubt."""
    found = []
    if view["paving"]:
        found.append(("paving", "What is the street made of?", _capital(view["paving"])))
        marking = view["marking"] or "none"
        found.append(("marking", "What is painted on the street?", _capital(marking)))
    if view["lamps"]:
        found.append(("lamps", "What kind of street lamps are there?", _capital(view["lamps"])))
    if view["trees"]:
        found.append(("trees", "Which kind of tree is there most of?", _capital(next(iter(view["trees"])))))
    found.append(("way", "How does the photo look at the street?", _capital(view["looking"])))
    cars = sum(view["cars"].values())
    found.append(("cars", "How many cars are there?", _NUMBERS[min(cars, len(_NUMBERS) - 1)]))
    for side, where in _SIDES.items():
        there = [building for building in view["buildings"] if building["side"] == side]
        if len(there) == 1:
            found += _about_building(there[0], where)
    for sign in view["signs"]:
        found.append(("sign", f"What does the sign {_SIDES[sign['side']]} say?", sign["text"]))
    return found


def _about_building(building: dict[str, Any], where: str) -> list[tuple[str, str, str]]:
    found = [
        ("colour", f"What colour is the building {where}?", _capital(building["colour"])),
        ("wall", f"What are the walls of the building {where} made of?", _capital(building["material"])),
    ]
    if building["storeys"]:
        found.append(
            (
                "storeys",
                f"How many storeys has the building {where}?",
                _NUMBERS[building["storeys"]],
            )
        )
    if building["window_frames"]:
        found.append(
            (
                "frames",
                f"What colour are the window frames of the building {where}?",
                _capital(building["window_frames"]),
            )
        )
    if building["ground_floor"]:
        found.append(
            ("ground floor", f"What is on the ground floor {where}?", _capital(building["ground_floor"]))
        )
    return found


def _things(view: dict[str, Any]) -> list[tuple[str, bool]]:
    """Things, and whether they are there."""
    shop = any(building["ground_floor"] == "shop" for building in view["buildings"])
    sights = [(noun, name in view["visible"]) for name, noun in _SIGHTS.items()]
    return [*sights, ("a car", bool(view["cars"])), ("a tree", bool(view["trees"])), ("a shop", shop)]


_SIGHTS = {
    "river": "a river",
    "park": "a park",
    "bridge": "a bridge",
    "fields": "open fields",
    "zebra": "a zebra crossing",
}
_POOLS: dict[str, tuple[str, ...]] = {
    "paving": ("Asphalt", "Dark asphalt", "Cobbles", "Concrete slabs", "Red brick paving"),
    "marking": ("None", "Dashed white", "Double yellow", "Solid white", "Tram rails"),
    "lamps": ("Arm", "Globe", "Lantern", "Twin"),
    "way": ("Along", "Across", "Aslant"),
    "wall": ("Brick", "Stone", "Concrete", "Tile", "Plaster", "Wood siding"),
    "storeys": ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight"),
}


def _choice(kind: str, question: str, right: str, wrong: Sequence[str], rng: np.random.Generator) -> Lesson:
    options = list(wrong)
    place = int(rng.integers(len(options) + 1))
    options.insert(place, right)
    letters = LETTERS[: len(options)]
    listed = " ".join(f"({letter}) {option}" for letter, option in zip(letters, options, strict=True))
    text = f"{question} {listed}. Please select the correct option ({'/'.join(letters)})."
    return Lesson(kind, text, letters[place])


def _cell(x: float, y: float, side_px: int) -> str:
    """Where on the picture a point lies, in words: one of nine cells."""
    row, column = (min(2, int(3 * value / side_px)) for value in (y, x))
    if row == column == 1:
        return "in the middle"
    if column == 1:
        return ("at the top", "", "at the bottom")[row]
    side = "left" if column == 0 else "right"
    return f"on the {side}" if row == 1 else f"in the {('upper', '', 'lower')[row]} {side}"


def _middle(name: Name) -> tuple[float, float]:
    left, top, right, bottom = name.box
    return (left + right) / 2, (top + bottom) / 2


def _course(name: Name) -> str:
    return _COURSES[int((name.course_deg + 22.5) // 45) % 4]


def _one_of(rng: np.random.Generator, *texts: str) -> str:
    return texts[int(rng.integers(len(texts)))]


def _yes(holds: bool) -> str:
    return "Yes" if holds else "No"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
