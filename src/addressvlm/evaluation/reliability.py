"""Is a stated confidence true? Calibration error, and what is gained by answering only when sure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """Answers of similar confidence: how many, how confident on average, and the share that is right."""

    count: int
    confidence: float
    right: float


def reliability(confidence: Floats, right: Floats, *, bins: int = 15) -> list[Bin]:
    """Answers in bins of equal width by confidence (0 to 1), empty ones left out; `right` is 1 or 0."""
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    return [
        Bin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (place == number for number in range(bins))
        if inside.any()
    ]


def expected_calibration_error(confidence: Floats, right: Floats, *, bins: int = 15) -> float:
    """The mean distance between confidence and share of right answers, over bins by their size (0 to 1)."""
    table = reliability(confidence, right, bins=bins)
    return sum(bin.count * abs(bin.confidence - bin.right) for bin in table) / len(confidence)


def risk_coverage(confidence: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Coverage (share answered) and risk (share wrong of those) when the surest are answered first."""
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(1 - right[order]) / answered


def area_under_risk(confidence: Floats, right: Floats) -> float:
    """The mean risk over all coverages (0 to 1): small where wrong answers are the unsure ones."""
    return float(risk_coverage(confidence, right)[1].mean())


def separation(inside: Sequence[float] | Floats, outside: Sequence[float] | Floats) -> float:
    """How probable it is that a photo from outside scores higher than one from inside (AUROC, 0 to 1)."""
    scores = np.concatenate([inside, outside])
    # Ranks of equal scores are shared.
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    of_outside = ranks[len(inside) :].sum() - len(outside) * (len(outside) + 1) / 2
    return float(of_outside / (len(inside) * len(outside)))
