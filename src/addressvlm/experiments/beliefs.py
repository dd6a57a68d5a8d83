"""What a belief over all addresses is worth beyond one greedy answer, on the standard mini cities.

On one trained model a city: answers open, closed and from one belief; several photos of a place put
together; a rough position; confidence before and after calibration, sets with a promised coverage, photos of
other cities. Whatever is chosen is chosen on validation photos; all figures are of test photos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from addressvlm.cities.build import build_city
from addressvlm.cities.city import load_city
from addressvlm.dataset.answers import Level
from addressvlm.dataset.build import build_dataset
from addressvlm.dataset.questions import joint_questions, plain_questions
from addressvlm.dataset.tables import read_questions
from addressvlm.environment import environment
from addressvlm.evaluation.evaluate import evaluate
from addressvlm.evaluation.reliability import (
    area_under_risk,
    expected_calibration_error,
    reliability,
    risk_coverage,
    separation,
)
from addressvlm.experiments.demo import DemoPlan
from addressvlm.experiments.results import MEASURED, measured
from addressvlm.folders import fingerprint, open_step, sha256
from addressvlm.geo.places import LatLon, Projection
from addressvlm.inference.beliefs import none_of_these
from addressvlm.inference.calibration import Calibration, calibrate, log_likelihood, tempered, true_pairs
from addressvlm.inference.constrained import constrained_answers
from addressvlm.inference.fusion import fuse, normalised, of_districts, of_streets, pairs_before, pairs_near
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.prompts import Picture
from addressvlm.training.train import train
from addressvlm.work import say, track

Floats = npt.NDArray[np.float64]
Photos = Sequence[tuple[Picture, ...]]

_REPLICATES = 2000
_INDEPENDENCES = (0.0, 0.25, 0.5, 0.75, 1.0)
_FIXES_M = (100.0, 300.0)
_COVERAGES = (0.8, 0.9, 0.95)


@dataclass(frozen=True)
class BeliefsPlan:
    """The cities, each with a model trained as in the demo, and how many photos of a place are combined."""

    cities: tuple[str, ...] = ("mini-pitts", "mini-sf", "mini-tokyo")
    demo: DemoPlan = DemoPlan()
    together: tuple[int, ...] = (2, 4)
    seed: int = 0


@dataclass(frozen=True)
class _City:
    """Photos of a split with what is known of them, and what the model believes: (photos, pairs)."""

    photos: pd.DataFrame
    pairs: Floats
    truth: npt.NDArray[np.intp]  # the number of the true pair, -1 where the gazetteer has none


def run_beliefs(
    out: Path,
    *,
    real_photos: Sequence[Path] = (),
    workers: int | None = None,
    plan: BeliefsPlan | None = None,
) -> dict[str, Any]:
    """Train, ask and measure every city under `out`; a rerun continues. Returns what `summary.json` holds.

    `real_photos` are photos of the real world, which no mini city should claim as its own.
    """
    plan = plan or BeliefsPlan()
    with open_step(
        out, "beliefs", {**asdict(plan), "real_photos": [sha256(one) for one in real_photos]}
    ) as step:
        if step.summary is not None:
            return step.summary
        homes = {city: _trained(city, out / city.replace(":", "-"), plan, workers) for city in plan.cities}
        strangers: dict[str, Photos] = {city: _pictures(homes[city], "test")[1] for city in plan.cities}
        if real_photos:
            strangers["real photos"] = [(photo,) for photo in real_photos]
        cities = {
            city: _measured(home, {name: seen for name, seen in strangers.items() if name != city}, plan)
            for city, home in homes.items()
        }
        return step.finish({"plan": asdict(plan), "cities": cities, **environment(), MEASURED: measured()})


def _trained(city: str, home: Path, plan: BeliefsPlan, workers: int | None) -> Path:
    """A city, its data set, and a model of it, made as the demo makes them."""
    demo, data = plan.demo, home / "dataset"
    say(f"beliefs: {city}")
    build_city(city, home / "city", locations=demo.locations, views=demo.views, workers=workers)
    build_dataset(home / "city", data, replace(demo.dataset, seed=plan.seed), workers=workers)
    train(replace(demo.alignment, seed=plan.seed), data, demo.base, home / "align")
    train(replace(demo.localization, seed=plan.seed), data, str(home / "align"), home / "localize")
    return home


def _measured(home: Path, strangers: Mapping[str, Photos], plan: BeliefsPlan) -> dict[str, Any]:
    localizer = Localizer.load(home / "localize")
    answers = evaluate(
        home / "dataset",
        localizer.answer,
        home / "evaluation",
        constrained=lambda requests: constrained_answers(localizer, requests),
        config={"run": fingerprint(home / "localize")},
    )
    val, test = (_believed(localizer, home, split) for split in ("val", "test"))
    calibration = calibrate(localizer.names, val.pairs, val.photos, fingerprint(home / "dataset"))
    # As `locate` puts them together: calibrated first.
    sure = replace(val, pairs=calibration.apply(val.pairs))
    before = pairs_before(localizer.names, localizer.gazetteer)
    independence = max(
        _INDEPENDENCES,
        key=lambda weight: _log_likelihood(_fused(sure, max(plan.together), before, weight, plan.seed)),
    )
    return {
        "photos": len(test.photos),
        "locations": int(test.photos["location"].nunique()),
        "pairs": len(localizer.names.pairs),
        "known_addresses": float((test.truth >= 0).mean()),
        "answers": {
            "open": answers["metrics"],
            **answers["constrained"],
            "corner_tolerant": answers["corner_tolerant"],
        },
        "intervals": {"open": answers["intervals"], **answers["constrained_intervals"]},
        "beliefs": _accuracies(localizer, home, test, calibration, independence, plan),
        "independence": independence,
        "calibration": _calibrated(localizer.names, test, calibration),
        "coverage": _covered(localizer.names, test, calibration),
        "strangers": _told_apart(localizer, test, strangers, calibration),
        "variants": _variants(localizer, home),
    }


def _believed(localizer: Localizer, home: Path, split: str) -> _City:
    photos, pictures = _pictures(home, split)
    read = track(localizer.distributions(pictures), f"photos ({split})", len(pictures))
    pairs = np.stack([beliefs["both"] for beliefs in read])
    return _City(photos, pairs, true_pairs(localizer.names, photos))


def _pictures(home: Path, split: str) -> tuple[pd.DataFrame, list[tuple[Picture, ...]]]:
    photos = read_questions(home / "dataset", split).drop_duplicates("photo").reset_index(drop=True)
    return photos, [tuple(home / "dataset" / image for image in images) for images in photos["images"]]


def _accuracies(
    localizer: Localizer,
    home: Path,
    test: _City,
    calibration: Calibration,
    independence: float,
    plan: BeliefsPlan,
) -> dict[str, Any]:
    """Street, district and pair right, in percent with intervals by location, for each kind of evidence."""
    sure = replace(test, pairs=calibration.apply(test.pairs))
    before = pairs_before(localizer.names, localizer.gazetteer)
    found = {"one photo": _marks(localizer.names, normalised(sure.pairs), test)}
    for number in (*plan.together, None):
        queries = _fused(sure, number, before, independence, plan.seed)
        name = "all photos of a place" if number is None else f"{number} photos of a place"
        found[name] = _marks(localizer.names, queries.pairs, queries)
    for within_m in _FIXES_M:
        prior = _priors(localizer, home, test, within_m, plan.seed)
        found[f"one photo, position within {within_m:g} m"] = _marks(
            localizer.names, normalised(sure.pairs - before + prior), test
        )
        found[f"position within {within_m:g} m alone"] = _marks(localizer.names, prior, test)
    return found


def _marks(names: Gazetteer, pairs: Floats, queries: _City) -> dict[str, Any]:
    streets = np.array(names.streets, object)[of_streets(names, pairs).argmax(axis=1)]
    districts = np.array(names.districts, object)[of_districts(names, pairs).argmax(axis=1)]
    right = {
        "s": streets == queries.photos["street"].to_numpy(object),
        "d": districts == queries.photos["district"].to_numpy(object),
        "sd": pairs.argmax(axis=1) == queries.truth,
    }
    return {
        "queries": len(pairs),
        **{name: _share(values.astype(float), queries.photos["location"]) for name, values in right.items()},
    }


def _share(values: Floats, locations: pd.Series) -> dict[str, Any]:
    """The mean in percent, and its 95 % bootstrap interval by location."""
    place = pd.factorize(locations)[0]
    sums, counts = np.bincount(place, values), np.bincount(place).astype(float)
    dice = np.random.default_rng(0)
    drawn = dice.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_REPLICATES).astype(float)
    low, high = np.percentile(100 * (drawn @ sums) / (drawn @ counts), [2.5, 97.5])
    return {"mean": 100 * float(values.mean()), "interval": [float(low), float(high)]}


def _fused(photos: _City, number: int | None, before: Floats, independence: float, seed: int) -> _City:
    """Queries of `number` photos of a place each (None or too many: all), drawn without repetition."""
    dice = np.random.default_rng(seed)
    pairs, first = [], []
    for _, rows in photos.photos.groupby("location", sort=True):
        order = dice.permutation(rows.index.to_numpy())
        size = min(number or len(order), len(order))
        for begin in range(0, len(order) - size + 1, size):
            chosen = order[begin : begin + size]
            pairs.append(fuse(photos.pairs[chosen], before, independence=independence))
            first.append(chosen[0])
    return _City(photos.photos.loc[first], np.stack(pairs), photos.truth[first])


def _log_likelihood(queries: _City) -> float:
    """Of the true pairs; queries at an address without a pair are left out."""
    known = queries.truth >= 0
    return log_likelihood(queries.pairs[known], queries.truth[known])


def _priors(localizer: Localizer, home: Path, test: _City, within_m: float, seed: int) -> Floats:
    """A prior over pairs for every photo from a fix that is wrong as `within_m` says, (photos, pairs)."""
    known = load_city(home / "city").photos.set_index("photo")
    dice = np.random.default_rng(seed)
    priors = []
    for photo in test.photos["photo"]:
        true = LatLon(float(known["lat"][photo]), float(known["lon"][photo]))
        sigma_m = within_m / np.sqrt(-2 * np.log(0.05))
        lat, lon = Projection(true).to_latlon(*dice.normal(0, sigma_m, 2))
        fix = LatLon(float(lat), float(lon))
        priors.append(pairs_near(localizer.names, localizer.gazetteer, fix, within_m))
    return np.stack(priors)


def _calibrated(names: Gazetteer, test: _City, calibration: Calibration) -> dict[str, Any]:
    """Calibration error and risk before and after, and the points of the plots, for streets."""
    found: dict[str, Any] = {"temperature": calibration.temperature}
    for name, temperature in (("before", 1.0), ("after", calibration.temperature)):
        streets = np.exp(of_streets(names, tempered(test.pairs, temperature)))
        confidence = streets.max(axis=1)
        said = np.array(names.streets, object)[streets.argmax(axis=1)]
        right = (said == test.photos["street"].to_numpy(object)).astype(float)
        coverage, risk = risk_coverage(confidence, right)
        some = np.unique(np.linspace(0, len(coverage) - 1, 60).astype(int))
        found[name] = {
            "ece": 100 * expected_calibration_error(confidence, right),
            "mean_confidence": 100 * float(confidence.mean()),
            "right": 100 * float(right.mean()),
            "area_under_risk": 100 * area_under_risk(confidence, right),
            "bins": [asdict(one) for one in reliability(confidence, right)],
            "risk": [[float(coverage[n]), float(risk[n])] for n in some],
        }
    return found


def _covered(names: Gazetteer, test: _City, calibration: Calibration) -> dict[str, Any]:
    """How often sets of streets hold the true one, and how large they are, by promised coverage."""
    streets = of_streets(names, calibration.apply(test.pairs))
    truths = [names.streets.index(street) for street in test.photos["street"]]
    found = {}
    for coverage in _COVERAGES:
        sets = [calibration.names_to_cover(row, "street", coverage) for row in streets]
        held = np.array([float(truth in one) for truth, one in zip(truths, sets, strict=True)])
        found[f"{100 * coverage:g} %"] = {
            "held": _share(held, test.photos["location"]),
            "mean_size": float(np.mean([len(one) for one in sets])),
        }
    return found


def _told_apart(
    localizer: Localizer, test: _City, strangers: Mapping[str, Photos], calibration: Calibration
) -> dict[str, Any]:
    """How well photos of other cities are told from photos of this one (AUROC in percent), by two signs."""

    def signs(pairs: Floats) -> dict[str, Floats]:
        street = np.exp(of_streets(localizer.names, calibration.apply(pairs)))
        return {"none of these": none_of_these(pairs), "doubt": 1 - street.max(axis=1)}

    here = signs(test.pairs)
    noise = np.random.default_rng(0).integers(0, 256, (64, 128, 128, 3), np.uint8)
    others: dict[str, Photos] = {**strangers, "noise": [(Image.fromarray(picture),) for picture in noise]}
    found = {}
    for name, photos in others.items():
        read = track(localizer.distributions(photos), f"photos of {name}", len(photos))
        there = signs(np.stack([beliefs["both"] for beliefs in read]))
        found[name] = {sign: 100 * separation(here[sign], there[sign]) for sign in here}
    return found


def _variants(localizer: Localizer, home: Path) -> dict[str, Any]:
    """Ways to read a street from the model, in percent right on validation and test photos.

    The default of `locate` is the pairs of one joint question; it was chosen on the validation photos.
    """
    return {split: _variants_of(localizer, home, split) for split in ("val", "test")}


def _variants_of(localizer: Localizer, home: Path, split: str) -> dict[str, float]:
    names, backbone = localizer.names, localizer.backbone
    photos, pictures = _pictures(home, split)
    plain = plain_questions(localizer.levels)
    read = list(localizer.distributions(pictures, [plain] * len(pictures)))
    pairs, street, district = (
        np.stack([one[level] for one in read]) for level in ("both", "street", "district")
    )
    grey = Image.new("RGB", (64, 64), tuple(int(255 * mean) for mean in backbone.preprocessing.mean))
    (blank,) = localizer.distributions([(grey,)], [plain])
    lengths = np.array([len(backbone.tokenizer.tokenize(name)) + 1 for name in names.streets])
    wordings: list[Mapping[Level, str]] = [{"both": text} for text in joint_questions(localizer.levels)]
    averaged = np.logaddexp.reduce(
        [
            np.stack([one["both"] for one in localizer.distributions(pictures, [wording] * len(pictures))])
            for wording in track(wordings, f"wordings ({split})", len(wordings))
        ]
    )
    both = np.array(names.pairs)
    ways: dict[str, Floats] = {
        "joint question, its pairs": of_streets(names, pairs),
        "street question": street,
        "street question, by its length": street / lengths,
        "street question, less its blank answer": street - blank["street"],
        "joint question, less its blank answer": of_streets(names, pairs - blank["both"]),
        "joint question in all wordings": of_streets(names, averaged),
        "all three questions": of_streets(names, pairs + street[:, both[:, 1]] + district[:, both[:, 0]]),
    }
    known = np.array(names.streets, object)
    truth = photos["street"].to_numpy(object)
    return {
        name: 100 * float((known[scores.argmax(axis=1)] == truth).mean()) for name, scores in ways.items()
    }
