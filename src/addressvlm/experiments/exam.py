"""What a base model can do, measured on scenes of cities that it has never seen, with the controls beside."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import dist
from pathlib import Path
from typing import Any

import numpy as np

from addressvlm.dataset.answers import LETTERS
from addressvlm.dataset.lessons import Lesson, lessons
from addressvlm.dataset.scenes import Picture, SceneFacts, Scenes
from addressvlm.dataset.seeds import generator
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.prompts import Request
from addressvlm.work import track

_DESCRIPTION_TOKENS = 160
_CENTRED, _ANYWHERE = "photo in the middle", "photo anywhere"
_ALL_NAMES = "share of all names"


@dataclass(frozen=True)
class _Asked:
    """A lesson with the picture it is asked about.

    `chance` is that of a guess among the names on it, `nearest` whether the one nearest to its middle is it.
    """

    task: str
    scene: int
    picture: Picture
    lesson: Lesson
    chance: float | None = None
    view_of: int | None = None
    nearest: bool | None = None


def examine(
    localizer: Localizer, folder: Path, *, scenes: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Ask the model about every scene of a folder (or the first `scenes`); percent right by task.

    For every task: how many were asked, how many answers are exactly right (in lists of names and in
    descriptions, the share that is), the share of the most frequent truth, and for matching the chance of a
    guess among the names of each map and what the one nearest to its middle gets. Controls are tasks, too:
    reading maps whose names were not drawn, and matching with the photo of another place.
    """
    exam = Scenes(folder)
    asked = list(_questions(exam, min(scenes or len(exam), len(exam)), localizer, seed))
    requests = [
        Request((exam.picture(one.scene, one.picture, view_of=one.view_of),), one.lesson.question)
        for one in asked
    ]
    answers = localizer.answer(requests, max_new_tokens=_DESCRIPTION_TOKENS)
    graded: dict[str, list[tuple[_Asked, str]]] = defaultdict(list)
    for one, answer in zip(asked, track(answers, "exam", total=len(asked)), strict=True):
        graded[one.task].append((one, answer))
    return {task: _grade(task, found) for task, found in sorted(graded.items())}


def _questions(exam: Scenes, count: int, localizer: Localizer, seed: int) -> Iterator[_Asked]:
    side_px = localizer.backbone.preprocessing.size_px
    for scene in range(count):
        facts, rng = exam.facts(scene), generator("exam", seed, scene)
        other = int(rng.integers(len(exam)))
        names = [name.name for name in exam.facts(other).names]
        yield from _map_questions(facts, scene, other, names, side_px, rng)
        yield from _view_questions(facts, scene, side_px, rng)


def _view_questions(
    facts: SceneFacts, scene: int, side_px: int, rng: np.random.Generator
) -> Iterator[_Asked]:
    """A phrase, a judgment and a choice about the street view; now and then its description."""
    description, *known = lessons(facts, "view", (), side_px, rng)
    order = [known[place] for place in rng.permutation(len(known))]
    tasks = {_view_task(lesson): lesson for lesson in order}
    phrases = [task for task in tasks if task not in ("judgments", "choices")]
    for task in (phrases[-1], "judgments", "choices"):
        if task in tasks:
            yield _Asked(f"street view: {task}", scene, "view", tasks[task])
    if scene % 8 == 0:
        yield _Asked("street view: sentences of the description", scene, "view", description)


def _view_task(lesson: Lesson) -> str:
    if lesson.answer in ("Yes", "No"):
        return "judgments"
    return "choices" if lesson.answer in LETTERS else lesson.kind.removeprefix("view ")


def _map_questions(
    facts: SceneFacts, scene: int, other: int, names: list[str], side_px: int, rng: np.random.Generator
) -> Iterator[_Asked]:
    known: dict[str, Lesson] = {}
    middle = (side_px / 2, side_px / 2)
    for lesson in lessons(facts, "grafted", names, side_px, rng):
        known.setdefault(lesson.kind, lesson)
    if facts.names:
        yield _Asked(f"map: {_ALL_NAMES}", scene, "grafted", known["names"])
        yield _Asked(f"map: {_ALL_NAMES}, names not drawn", scene, "unnamed", known["names"])
    if "name at" in known:
        yield _Asked("map: name at a place", scene, "grafted", known["name at"])
        yield _Asked("map: name at a place, names not drawn", scene, "unnamed", known["name at"])
    for kind in ("place of", "is written", "which is written", "course"):
        if kind in known:
            yield _Asked(f"map: {kind}", scene, "grafted", known[kind])
    if "match" in known and len(facts.names) > 1:
        where = _CENTRED if facts.is_centred(side_px) else _ANYWHERE
        lesson, chance = known["match"], 1 / len(facts.names)
        nearest = min(facts.names, key=lambda name: dist(name.middle, middle)).name == facts.street
        for task, view_of in ((where, None), (f"{where}, photo of another place", other)):
            yield _Asked(f"match: {task}", scene, "grafted", lesson, chance, view_of, nearest)
        yield _Asked("match: judgments", scene, "grafted", known["match yes"])
        yield _Asked("match: choices", scene, "grafted", known["match which"], chance)


def _grade(task: str, found: list[tuple[_Asked, str]]) -> dict[str, Any]:
    mark = _exactly
    if "description" in task:
        mark = _sentences_right
    elif _ALL_NAMES in task:
        mark = _names_right
    right = [mark(one.lesson.answer, answer) for one, answer in found]
    lines = {
        "chance": [one.chance for one, _ in found if one.chance is not None],
        "nearest": [float(one.nearest) for one, _ in found if one.nearest is not None],
    }
    most = Counter(one.lesson.answer for one, _ in found).most_common(1)[0][1]
    return {
        "asked": len(found),
        "right": round(100 * float(np.mean(right)), 1),
        "most_frequent": round(100 * most / len(found), 1),
        **{line: round(100 * float(np.mean(shares)), 1) for line, shares in lines.items() if shares},
    }


def _exactly(truth: str, answer: str) -> float:
    return float(answer == truth)


def _names_right(truth: str, answer: str) -> float:
    """The names that are told and there, over those that are there, or over those that are told if more."""
    there, told = (Counter(text.rstrip(".").split(", ")) for text in (truth, answer))
    return (there & told).total() / max(there.total(), told.total())


def _sentences_right(truth: str, answer: str) -> float:
    """The share of the answer's sentences that the true description has."""
    true, told = ({part.strip(" .") for part in text.split(". ")} for text in (truth, answer))
    return len(true & told) / len(told)
