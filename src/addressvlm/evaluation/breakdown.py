"""Where a model is right and where it errs: tables by name, by pair of names, by distance from a corner."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from addressvlm.dataset.answers import normalise
from addressvlm.evaluation.metrics import CELLS, cells_of

NONE_OF_THESE = "none of these"

# How many metres nearer the photo's street is than the second nearest: little at a corner.
MARGINS_M = ((0, 5), (5, 10), (10, 20), (20, np.inf))

Beliefs = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Group:
    """Photos that have a name in common; `right` is the percent of right answers by the keys of `CELLS`."""

    name: str
    photos: int
    right: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Confusion:
    """`photos` photos of `truth` (`share` percent of them) were believed to be of `belief`."""

    truth: str
    belief: str
    photos: int
    share: float


class Names:
    """The names of one level of a gazetteer, found by any of their spellings."""

    def __init__(self, gazetteer: pd.DataFrame, level: str):
        rows = gazetteer[gazetteer["level"] == level]
        self.all: list[str] = rows["name"].tolist()
        self._by_spelling: dict[str, str] = {}
        for name, spellings in zip(rows["name"], rows["spellings"], strict=True):
            for spelling in (name, *spellings):
                self._by_spelling.setdefault(normalise(spelling), name)

    def __call__(self, answer: str) -> str:
        """The name that an answer means, or `NONE_OF_THESE`."""
        return self._by_spelling.get(normalise(answer), NONE_OF_THESE)


def groups_by(answered: pd.DataFrame, column: str, correct: npt.NDArray[np.float64]) -> list[Group]:
    """The photos of each value of `column` (district or street), with accuracies, largest first."""
    photos: dict[str, set[str]] = defaultdict(set)
    asked, right = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    cells = [CELLS[cell] for cell in cells_of(answered)]
    names, ids = answered[column].tolist(), answered["photo"].tolist()
    for name, photo, cell, correctly in zip(names, ids, cells, correct, strict=True):
        photos[name].add(photo)
        asked[name, cell] += 1
        right[name, cell] += correctly > 0
    groups = [
        Group(name, len(of_name), {c: 100 * right[name, c] / asked[name, c] for c in CELLS if asked[name, c]})
        for name, of_name in photos.items()
    ]
    return sorted(groups, key=lambda group: (-group.photos, group.name))


def beliefs(answered: pd.DataFrame, names: Names, level: str) -> Beliefs:
    """Where the photos of each true name were believed to be: {truth: {belief: photos}}, commonest first.

    Only the generation questions of `level` are looked at; answers that are no name count as `NONE_OF_THESE`.
    """
    asked = answered[(answered["kind"] == "generation") & (answered["level"] == level)]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for truth, answer in zip(asked[level], asked["answer"], strict=True):
        counts[truth][names(answer)] += 1
    return {
        truth: dict(sorted(counts[truth].items(), key=lambda item: (-item[1], item[0])))
        for truth in sorted(counts)
    }


def confusions(believed: Mapping[str, Mapping[str, int]], most: int) -> list[Confusion]:
    """The `most` frequent wrong beliefs."""
    rows = [
        Confusion(truth, belief, photos, 100 * photos / sum(counts.values()))
        for truth, counts in believed.items()
        for belief, photos in counts.items()
        if belief != truth
    ]
    return sorted(rows, key=lambda row: (-row.photos, row.truth, row.belief))[:most]


def groups_by_margin(answered: pd.DataFrame, correct: npt.NDArray[np.float64]) -> list[Group]:
    """Accuracy of the street generation questions (`s_G`) from corners to the middle of a block.

    Photos without a margin have no second street within reach.
    """
    asked = ((answered["kind"] == "generation") & (answered["level"] == "street")).to_numpy()
    margin_m, right = answered["margin_m"].to_numpy(np.float64)[asked], correct[asked]
    bands = [
        (
            f"{low} to {high} m" if np.isfinite(high) else f"{low} m and more",
            (margin_m >= low) & (margin_m < high),
        )
        for low, high in MARGINS_M
    ]
    bands.append(("no other street near", np.isnan(margin_m)))
    return [
        Group(name, int(inside.sum()), {"s_G": 100 * float(right[inside].mean())})
        for name, inside in bands
        if inside.any()
    ]
