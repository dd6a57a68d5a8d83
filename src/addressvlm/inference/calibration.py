"""Knowing when not to know: probabilities that can be taken at their word, from the validation split.

Everything here is fitted on validation photos alone, and takes it that an address is one of the gazetteer's.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from addressvlm.dataset.answers import Level
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import read_json, write_json
from addressvlm.geo.places import Address
from addressvlm.inference.fusion import normalised, of_districts, of_streets
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.nametrie import Floats

CALIBRATION = "calibration.json"

_COLDEST, _HOTTEST = 0.05, 20.0
_SEARCHES = 60
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
        # Of n places and a new one, all in one draw, the new one is as likely at any rank as at any other;
        # photos of one place resemble each other, so not they but their places are counted.
        allowed = (weights.sum() + 1) * (1 - coverage)
        below = np.flatnonzero(weights.cumsum() <= allowed * (1 + _ROUNDING))
        return float(probabilities[below[-1]]) if len(below) else 0.0

    def save(self, run: Path) -> None:
        """Write the calibration beside the model of a run."""
        write_json(run / CALIBRATION, asdict(self))

    @staticmethod
    def load(run: Path) -> "Calibration | None":
        """The calibration of a run, or nothing if it has none."""
        if not (run / CALIBRATION).is_file():
            return None
        stored = read_json(run / CALIBRATION)
        truths = stored["truths"]
        if not all(isinstance(one, list) for level in truths.values() for one in level):
            raise AddressVLMError(f"{run / CALIBRATION} is of an earlier version; calibrate {run} again")
        return Calibration(stored["temperature"], truths, stored["dataset"])


def calibrate(
    gazetteer: Gazetteer, pairs: Floats, addresses: Sequence[Address], places: Sequence[str], dataset: str
) -> Calibration:
    """Fit a calibration to beliefs (photos, pairs) of photos whose addresses and places are known.

    Photos at an address that is no pair of the gazetteer are left out.
    """
    numbers = {
        (gazetteer.districts[district], gazetteer.streets[street]): (number, district, street)
        for number, (district, street) in enumerate(gazetteer.pairs)
    }
    known = [number for number, at in enumerate(addresses) if (at.district, at.street) in numbers]
    if not known:
        raise AddressVLMError("no validation photo lies at an address of the gazetteer; nothing to calibrate")
    true = np.array([numbers[addresses[n].district, addresses[n].street] for n in known])
    temperature = fit_temperature(pairs[known], true[:, 0])
    both = tempered(pairs[known], temperature)
    told = {
        "both": (both, true[:, 0]),
        "district": (of_districts(gazetteer, both), true[:, 1]),
        "street": (of_streets(gazetteer, both), true[:, 2]),
    }
    views = Counter(places[number] for number in known)
    weights = [1 / views[places[number]] for number in known]
    truths = {
        level: sorted(zip(np.exp(log_p[np.arange(len(known)), right]).tolist(), weights, strict=True))
        for level, (log_p, right) in told.items()
    }
    return Calibration(temperature, truths, dataset)


def tempered(log_p: Floats, temperature: float) -> Floats:
    """Beliefs (…, names) made less certain (above 1) or more (below), and normalised."""
    return normalised(log_p / temperature)


def fit_temperature(log_p: Floats, truths: npt.NDArray[np.intp]) -> float:
    """The temperature under which the true names (photos,) are most probable in all, from 0.05 to 20."""

    def surprise(log_temperature: float) -> float:
        told = tempered(log_p, math.exp(log_temperature))
        # One impossible truth must not decide everything.
        return -float(np.maximum(told[np.arange(len(truths)), truths], -50.0).mean())

    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    for _ in range(_SEARCHES):  # ternary search: the surprise has one valley
        third = (high - low) / 3
        if surprise(low + third) < surprise(high - third):
            high -= third
        else:
            low += third
    return math.exp((low + high) / 2)
