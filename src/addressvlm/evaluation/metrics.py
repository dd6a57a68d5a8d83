"""The ten figures of the paper (Sec. 4.1), their intervals, and the lines of whoever cannot see the photo.

`d_G d_J d_M`: district questions by generation, judgment, multiple choice; `s_*`: street questions; `sd`: the
joint question. `d_mean`, `s_mean` and `mean` are averages over *questions* (correct over asked), which is how
the paper's printed averages come about; the joint question is not part of `mean`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from addressvlm.dataset.answers import is_correct, joint_answer

# What each figure is about; the two words are the city's own, as in `.format("district", "street")`.
MEANINGS = {
    "d_G": "{0}, generation",
    "d_J": "{0}, judgment",
    "d_M": "{0}, multiple choice",
    "d_mean": "{0} questions",
    "s_G": "{1}, generation",
    "s_J": "{1}, judgment",
    "s_M": "{1}, multiple choice",
    "s_mean": "{1} questions",
    "mean": "all questions",
    "sd": "{1} and {0} at once",
}
METRICS = tuple(MEANINGS)
# One cell for each type of question; the three averages are sums of cells.
CELLS = ("d_G", "d_J", "d_M", "s_G", "s_J", "s_M", "sd")
AVERAGES = {"d_mean": ("d_G", "d_J", "d_M"), "s_mean": ("s_G", "s_J", "s_M"), "mean": CELLS[:6]}

Floats = npt.NDArray[np.float64]
Figures = dict[str, float | None]
Intervals = dict[str, list[float] | None]  # low and high in percent, by metric

# Photos whose second street is hardly farther than the first may be right for either.
CORNER_M = 10.0

_KIND_LETTERS = {"generation": "G", "judgment": "J", "multiple_choice": "M"}
_DECIMALS = 6
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Known:
    """What an answerer knows who has never seen a photo: the names, and how often each is the address.

    `names` has the keys `district`, `street` and `both` (pairs written as in joint answers); `source` says in
    words where the counts come from.
    """

    names: Mapping[str, Mapping[str, int]]
    source: str

    def most_frequent(self, level: str) -> str:
        """The commonest name of a level, of equals the first in the alphabet; "" if none is known."""
        counts = self.names[level]
        return min(counts, key=lambda name: (-counts[name], name), default="")


@dataclass(frozen=True)
class Scores:
    """What `metrics.json` holds; percent by the keys of `METRICS`, null where nothing was asked."""

    metrics: Figures
    counts: dict[str, int]
    intervals: Intervals
    strict: Figures
    chance: Figures
    majority: Figures
    lines_from: str
    photos: int
    locations: int
    neighbours: Figures = field(default_factory=dict)
    corner_tolerant: Figures = field(default_factory=dict)
    constrained: dict[str, Figures] = field(default_factory=dict)
    constrained_intervals: dict[str, Intervals] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a dictionary, without the lines that are not there."""
        optional = ("neighbours", "corner_tolerant", "constrained", "constrained_intervals")
        return {name: value for name, value in vars(self).items() if name not in optional or value}


def score(
    predictions: pd.DataFrame,
    *,
    known: Known | None = None,
    neighbour_answers: list[str] | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Scores:
    """Score a table of predictions (`read_predictions`).

    `known` are the names of the training data; without it the chance and majority lines are computed from
    the truths of the table itself. `neighbour_answers` (one a row) adds the line of `neighbours.py`.
    Intervals are 95 % percentile bootstrap, by location, because photos of one place are not independent.
    """
    known = known or known_from_truths(predictions)
    cells = cells_of(predictions)
    correct = correctness(predictions, predictions["answer"].tolist())

    constrained = {
        name: correctness(predictions, [more[name] for more in predictions["constrained"]])
        for name in _constraints(predictions)
    }

    def line(values: Floats) -> Figures:
        return figures_of(values, cells)

    def intervals(values: Floats) -> Intervals:
        return bootstrap_intervals(values, cells, predictions["location"], replicates=replicates, seed=seed)

    return Scores(
        metrics=line(correct),
        counts=_counts(cells),
        intervals=intervals(correct),
        strict=line(correctness(predictions, predictions["answer"].tolist(), strict=True)),
        chance=line(chance_of(predictions, known)),
        majority=line(correctness(predictions, majority_answers(predictions, known))),
        lines_from=known.source,
        photos=int(predictions["photo"].nunique()),
        locations=int(predictions["location"].nunique()),
        neighbours={} if neighbour_answers is None else line(correctness(predictions, neighbour_answers)),
        corner_tolerant=line(np.maximum(correct, right_at_corner(predictions)))
        if "runner_up" in predictions
        else {},
        constrained={name: line(right) for name, right in constrained.items()},
        constrained_intervals={name: intervals(right) for name, right in constrained.items()},
    )


def figures_of(values: Floats, cells: npt.NDArray[np.intp]) -> Figures:
    """The mean of `values`, one a row, by metric, in percent; null for what was not asked."""
    return _figures(*_totals(values, cells))


def cells_of(predictions: pd.DataFrame) -> npt.NDArray[np.intp]:
    """The index in `CELLS` of each row's type of question."""
    names = [
        "sd" if kind == "joint" else f"{level[0]}_{_KIND_LETTERS[kind]}"
        for kind, level in _rows(predictions, "kind", "level")
    ]
    return np.array([CELLS.index(name) for name in names], dtype=np.intp)


def correctness(predictions: pd.DataFrame, answers: Sequence[str], *, strict: bool = False) -> Floats:
    """1.0 for each row that `answers` (one a row) gets right, else 0.0."""
    rows = zip(_rows(predictions, "kind", "level", "truth", "options"), answers, strict=True)
    return np.array(
        [
            is_correct(kind, level, answer, truth, options=options, strict=strict)
            for (kind, level, truth, options), answer in rows
        ],
        dtype=np.float64,
    )


def right_at_corner(predictions: pd.DataFrame) -> Floats:
    """1.0 for each row whose answer names the second street of a photo near a corner, else 0.0.

    Only answers that name a street count. Columns: those of predictions, and `district`, `runner_up`,
    `margin_m` of the data set.
    """
    rows = _rows(predictions, "kind", "level", "district", "runner_up", "margin_m", "answer")

    def right(kind: str, level: str, district: str, other: Any, margin_m: Any, answer: str) -> float:
        if level == "district" or kind not in ("generation", "joint"):
            return 0.0
        if not isinstance(other, str) or not margin_m < CORNER_M:
            return 0.0
        truth = other if kind == "generation" else joint_answer(district, other)
        return float(is_correct(kind, level, answer, truth))

    return np.array([right(*row) for row in rows])


def _constraints(predictions: pd.DataFrame) -> list[str]:
    """The constraints under which all questions were answered."""
    if "constrained" not in predictions or predictions.empty:
        return []
    rows = predictions["constrained"].tolist()
    return [name for name in rows[0] if all(name in row for row in rows)]


def micro_average(cells: Mapping[str, float], questions_per_image: Mapping[str, float]) -> Figures:
    """`d_mean`, `s_mean`, `mean` from the accuracy (percent) and number an image of each type of question.

    Keys are those of `CELLS`; types that are left out count as not asked. Of the paper's figures (Pitts:
    1.8088 district and 1.9845 street judgments an image, else 1) this gives the printed averages.
    """
    asked = np.array([questions_per_image.get(name, 0.0) for name in CELLS])
    correct = np.array([cells.get(name, 0.0) / 100 for name in CELLS]) * asked
    figures = _figures(correct, asked)
    return {name: figures[name] for name in AVERAGES}


def bootstrap_intervals(
    correct: Floats, cells: npt.NDArray[np.intp], locations: pd.Series, *, replicates: int, seed: int
) -> Intervals:
    """95 % intervals in percent by metric; null for what was not asked, all null for a single location."""
    place = pd.factorize(locations)[0]
    count = int(place.max()) + 1
    if count < 2:
        return dict.fromkeys(METRICS)
    # correct and asked questions by location and cell: (locations, cells)
    right, asked = (
        np.bincount(place * len(CELLS) + cells, weights, count * len(CELLS)).reshape(count, len(CELLS))
        for weights in (correct, np.ones_like(correct))
    )
    generator = np.random.default_rng(seed)
    draws = []
    for begin in range(0, replicates, step := max(1, _DRAWS_AT_ONCE // count)):
        size = min(step, replicates - begin)
        times = generator.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        draws.append(_ratios(times @ right, times @ asked))  # (size, metrics)
    ratios = np.concatenate(draws)
    return {name: _interval(ratios[:, column]) for column, name in enumerate(METRICS)}


def known_from_truths(predictions: pd.DataFrame) -> Known:
    """The names among the truths of a bare predictions file: what there is to go by without training data."""

    def truths(kind: str, level: str) -> Counter[str]:
        rows = predictions[(predictions["kind"] == kind) & (predictions["level"] == level)]
        return Counter(rows["truth"])

    names = {
        "district": truths("generation", "district"),
        "street": truths("generation", "street"),
        "both": truths("joint", "both"),
    }
    return Known(names, "the truths of the scored questions (no training data was given)")


def known_from_training(train: pd.DataFrame) -> Known:
    """The names of the training photos (columns `district`, `street`)."""
    pairs = map(joint_answer, train["district"], train["street"])
    names = {
        "district": Counter(train["district"]),
        "street": Counter(train["street"]),
        "both": Counter(pairs),
    }
    return Known(names, "the addresses of the training photos")


def chance_of(predictions: pd.DataFrame, known: Known) -> Floats:
    """How likely a uniform guess is right, for each row: among the names, two words, the options."""

    def chance(kind: str, level: str, options: list[str]) -> float:
        if kind == "judgment":
            return 0.5
        choices = len(options) if kind == "multiple_choice" else len(known.names[level])
        return 1 / choices if choices else 0.0

    return np.array([chance(*row) for row in _rows(predictions, "kind", "level", "options")])


def majority_answers(predictions: pd.DataFrame, known: Known) -> list[str]:
    """The best constant answer to each type of question.

    That is the commonest known name, or of Yes and No and of the letters the one that is right most often.
    """
    rows = list(_rows(predictions, "kind", "level", "truth"))
    truths: dict[tuple[str, str], Counter[str]] = {}
    for kind, level, truth in rows:
        truths.setdefault((kind, level), Counter())[truth] += 1
    constants = {
        (kind, level): (
            min(counts, key=lambda truth: (-counts[truth], truth))
            if kind in ("judgment", "multiple_choice")
            else known.most_frequent(level)
        )
        for (kind, level), counts in truths.items()
    }
    return [constants[kind, level] for kind, level, _ in rows]


def _rows(predictions: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """The values of some columns row by row; as lists, because pandas is slow to iterate over texts."""
    return zip(*(predictions[column].tolist() for column in columns), strict=True)


def _totals(values: Floats, cells: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Sums of `values` and numbers of questions by cell."""
    right, asked = (np.bincount(cells, weights, len(CELLS)) for weights in (values, np.ones_like(values)))
    return right.astype(np.float64), asked.astype(np.float64)


def _ratios(correct: Floats, asked: Floats) -> Floats:
    """Sums by cell (…, cells) → percent by metric (…, metrics); NaN where nothing was asked."""
    members = np.array(
        [[cell in AVERAGES.get(name, (name,)) for name in METRICS] for cell in CELLS], dtype=np.float64
    )
    right, total = correct @ members, asked @ members
    return np.divide(100 * right, total, out=np.full_like(total, np.nan), where=total > 0)


def _figures(correct: Floats, asked: Floats) -> Figures:
    return {
        name: None if np.isnan(ratio) else round(float(ratio), _DECIMALS)
        for name, ratio in zip(METRICS, _ratios(correct, asked), strict=True)
    }


def _counts(cells: npt.NDArray[np.intp]) -> dict[str, int]:
    asked = np.bincount(cells, minlength=len(CELLS))
    return {
        f"n_{name}": int(sum(asked[CELLS.index(cell)] for cell in AVERAGES.get(name, (name,))))
        for name in METRICS
    }


def _interval(ratios: Floats) -> list[float] | None:
    asked = ratios[~np.isnan(ratios)]
    return [round(float(end), _DECIMALS) for end in np.percentile(asked, [2.5, 97.5])] if len(asked) else None
