"""Knowing when not to know: probabilities that can be taken at their word, from the validation split.

Everything here is fitted on validation photos alone, and takes it that an address is one of the gazetteer's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from addressvlm.dataset.answers import Level
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import read_json, write_json
from addressvlm.inference.fusion import normalised, of_districts, of_streets
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.nametrie import Floats

if TYPE_CHECKING:
    import pandas as pd

CALIBRATION = "calibration.json"

_COLDEST, _HOTTEST = 0.05, 20.0
_SEARCHES = 60
_IMPOSSIBLE = -50.0  # one impossible truth must not decide everything
_ROUNDING = 1e-9  # of sums of weights


@dataclass(frozen=True)
class Calibration:
    """What was fitted to the validation photos of a data set (its fingerprint).

    `temperature` divides the log-probabilities of pairs (1: they were right as they are). `truths` are, by
    level, the probabilities of the true names after that, in ascending order, one a validation photo, each
    with its weight: photos of one place together weigh 1. Sets of names are made from them.
    """

    temperature: float
    truths: Mapping[str, Sequence[tuple[float, float]]]
    dataset: str

    def apply(self, log_p: Floats) -> Floats:
        """Calibrated log-probabilities of pairs, (…, pairs) as given."""
        return tempered(log_p, self.temperature)

    def names_to_cover(self, log_p: Floats, level: Level, coverage: float) -> npt.NDArray[np.intp]:
        """The names (numbers, most probable first) of a set that holds the true one with this probability.

        `log_p` (names,) is calibrated. Split conformal prediction: the promise is about photos of new places
        of the kind that the calibration saw, all in all, not about this one. The set holds at least one name.
        """
        least = self.threshold(level, coverage)
        order = np.argsort(-log_p, kind="stable")
        return order[: max(1, int((np.exp(log_p) >= least).sum()))]

    def threshold(self, level: Level, coverage: float) -> float:
        """How probable a name must be to belong to a set with this coverage."""
        if not 0 < coverage < 1:
            raise UsageError(f"coverage is {coverage}, but it must be between 0 and 1")
        probabilities, weights = np.array(self.truths[level]).T
        # Photos of one place resemble each other, so places are counted. Of n places and a new one, all in
        # one draw, a share of 1 - coverage may be left out, of which the new one counts as a whole.
        allowed = (weights.sum() + 1) * (1 - coverage) - 1
        kept = np.flatnonzero(weights.cumsum() - weights <= allowed + _ROUNDING)
        return float(probabilities[kept[-1]]) if len(kept) else 0.0

    def save(self, run: Path) -> None:
        """Write the calibration beside the model of a run."""
        write_json(run / CALIBRATION, asdict(self))

    @staticmethod
    def load(run: Path) -> "Calibration | None":
        """The calibration of a run, or nothing if it has none."""
        if not (run / CALIBRATION).is_file():
            return None
        stored = read_json(run / CALIBRATION)
        try:
            truths = {
                level: [(told, weight) for told, weight in ones] for level, ones in stored["truths"].items()
            }
        except TypeError:
            raise AddressVLMError(
                f"{run / CALIBRATION} is of an earlier version; calibrate {run} again"
            ) from None
        return Calibration(stored["temperature"], truths, stored["dataset"])


def true_pairs(gazetteer: Gazetteer, photos: "pd.DataFrame") -> npt.NDArray[np.intp]:
    """The number of the pair at which each photo (`district`, `street`) lies, -1 where there is none."""
    addresses = zip(photos["district"], photos["street"], strict=True)
    return np.array([gazetteer.pair_numbers.get(address, -1) for address in addresses], np.intp)


def calibrate(gazetteer: Gazetteer, pairs: Floats, photos: "pd.DataFrame", dataset: str) -> Calibration:
    """Fit a calibration to beliefs (photos, pairs) of photos with known `district`, `street` and `location`.

    Photos at an address that is no pair of the gazetteer are left out.
    """
    true = true_pairs(gazetteer, photos)
    known = true >= 0
    if not known.any():
        raise AddressVLMError("no validation photo lies at an address of the gazetteer; nothing to calibrate")
    true, places = true[known], photos["location"][known]
    temperature = fit_temperature(pairs[known], true)
    both = tempered(pairs[known], temperature)
    districts, streets = np.array(gazetteer.pairs)[true].T
    told = {
        "both": (both, true),
        "district": (of_districts(gazetteer, both), districts),
        "street": (of_streets(gazetteer, both), streets),
    }
    weights = (1 / places.map(places.value_counts())).tolist()
    truths = {
        level: sorted(zip(np.exp(log_p[np.arange(len(true)), right]).tolist(), weights, strict=True))
        for level, (log_p, right) in told.items()
    }
    return Calibration(temperature, truths, dataset)


def tempered(log_p: Floats, temperature: float) -> Floats:
    """Beliefs (…, names) made less certain (above 1) or more (below), and normalised."""
    return normalised(log_p / temperature)


def log_likelihood(log_p: Floats, truths: npt.NDArray[np.intp]) -> float:
    """Of the true names (photos,) under beliefs (photos, names), on average."""
    return float(np.maximum(log_p[np.arange(len(truths)), truths], _IMPOSSIBLE).mean())


def fit_temperature(log_p: Floats, truths: npt.NDArray[np.intp]) -> float:
    """The temperature under which the true names (photos,) are most probable in all, from 0.05 to 20."""

    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    for _ in range(_SEARCHES):  # ternary search: the likelihood has one peak
        third = (high - low) / 3
        cold, hot = (
            log_likelihood(tempered(log_p, math.exp(one)), truths) for one in (low + third, high - third)
        )
        if cold > hot:
            high -= third
        else:
            low += third
    return math.exp((low + high) / 2)
