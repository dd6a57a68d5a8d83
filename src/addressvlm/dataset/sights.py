"""What can be asked about a street view, from the facts that the renderer tells about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from addressvlm.cities.minicity.look import (
    FRAMES,
    GROUND_FLOORS,
    LAMPS,
    MARKINGS,
    MATERIALS,
    PAVINGS,
    TREES,
    WALLS,
)
from addressvlm.dataset.wording import capital

_NUMBERS = (
    *("Zero", "One", "Two", "Three", "Four", "Five", "Six"),
    *("Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"),
)
_WAYS = ("Along", "Across", "Aslant")
_SIDES = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
_SIGHTS = {
    "river": "a river",
    "park": "a park",
    "bridge": "a bridge",
    "fields": "open fields",
    "zebra": "a zebra crossing",
}
_COLOURS = tuple(sorted({colour for _, colour in WALLS}))


@dataclass(frozen=True)
class Sight:
    """A question about a view with its answer, and what else the answer might be; no pool for free text."""

    kind: str
    question: str
    answer: str
    pool: tuple[str, ...] = ()


def sights(view: dict[str, Any]) -> list[Sight]:
    """All questions about what a view shows beyond doubt."""
    found = list(_street(view))
    for side, where in _SIDES.items():
        there = [building for building in view["buildings"] if building["side"] == side]
        if len(there) == 1:  # else it would not be clear which one is meant
            found += _building(there[0], where)
    for sign in view["signs"]:
        found.append(Sight("sign", f"What does the sign {_SIDES[sign['side']]} say?", sign["text"]))
    return found


def presences(view: dict[str, Any]) -> list[tuple[str, bool]]:
    """Things, and whether the view shows them."""
    shop = any(building["ground_floor"] == "shop" for building in view["buildings"])
    found = [(noun, name in view["visible"]) for name, noun in _SIGHTS.items()]
    return [*found, ("a car", bool(view["cars"])), ("a tree", bool(view["trees"])), ("a shop", shop)]


def _street(view: dict[str, Any]) -> Iterator[Sight]:
    if view["paving"]:
        yield Sight("paving", "What is the street made of?", capital(view["paving"]), _capitals(PAVINGS))
        marking = capital(view["marking"] or "none")
        yield Sight("marking", "What is painted on the street?", marking, _capitals(MARKINGS))
    if view["lamps"]:
        yield Sight(
            "lamps", "What kind of street lamps are there?", capital(view["lamps"]), _capitals(LAMPS[1:])
        )
    if view["trees"]:
        commonest = capital(next(iter(view["trees"])))
        yield Sight("trees", "Which kind of tree is there most of?", commonest, _capitals(TREES))
    yield Sight("way", "How does the photo look at the street?", capital(view["looking"]), _WAYS)
    cars = _NUMBERS[min(sum(view["cars"].values()), len(_NUMBERS) - 1)]
    yield Sight("cars", "How many cars are there?", cars, _NUMBERS)


def _building(building: dict[str, Any], where: str) -> Iterator[Sight]:
    yield Sight(
        "colour", f"What colour is the building {where}?", capital(building["colour"]), _capitals(_COLOURS)
    )
    material = capital(building["material"])
    yield Sight(
        "wall", f"What are the walls of the building {where} made of?", material, _capitals(MATERIALS)
    )
    if building["storeys"]:
        storeys = _NUMBERS[building["storeys"]]
        yield Sight("storeys", f"How many storeys has the building {where}?", storeys, _NUMBERS[1:])
    if building["window_frames"]:
        question = f"What colour are the window frames of the building {where}?"
        yield Sight("frames", question, capital(building["window_frames"]), _capitals(FRAMES))
    if building["ground_floor"]:
        ground_floor = capital(building["ground_floor"])
        yield Sight(
            "ground floor", f"What is on the ground floor {where}?", ground_floor, _capitals(GROUND_FLOORS)
        )


def _capitals(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(capital, words))
