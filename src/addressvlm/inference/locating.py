"""Where a photo was taken, as a belief: ranked addresses, how sure, and on the map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from addressvlm.dataset.questions import plain_questions
from addressvlm.errors import UsageError
from addressvlm.folders import require_complete
from addressvlm.geo.places import LatLon
from addressvlm.inference.beliefs import none_of_these
from addressvlm.inference.calibration import Calibration
from addressvlm.inference.fusion import fuse, normalised, of_districts, of_streets, pairs_before, pairs_near
from addressvlm.inference.histogram import street_histogram
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.maps import write_maps
from addressvlm.inference.nametrie import Floats

UNKNOWN = "unknown"

# How far several photos of one place count as independent: what validation photos of all three mini cities
# chose (results/beliefs.md).
_INDEPENDENCE = 0.25
# Above this probability of "no name of this city" there is nothing to rank.
_FOREIGN = 0.5


def locate(
    localizer: Localizer,
    photos: Sequence[Path],
    *,
    near: LatLon | None = None,
    within_m: float = 100.0,
    min_confidence: float = 0.0,
    coverage: float | None = None,
    top: int = 5,
    samples: int = 0,
    temperature: float = 0.8,
    seed: int = 0,
    out: Path | None = None,
) -> dict[str, Any]:
    """The address of a place that `photos` show, one or several.

    Gives `answer` (the likeliest street, and its likeliest district; the likeliest district alone, or
    `unknown`, where the model is less sure than `min_confidence`), `confidence` (of that street, or of that
    district), `streets` and `districts` with their probabilities, likeliest first, and `none_of_these`, the
    probability of an answer that is no address of the city. `near` is a rough position
    that is right within `within_m` in 95 of 100 cases. With `coverage`, a set of streets that holds the true
    one that often. With `samples`, the paper's Fig. 5 of a single photo: that many answers drawn at a
    temperature, beside what the exact distribution predicts. With `out`, map and page in that folder.

    Probabilities are calibrated (`calibrated`) if the run is, of a photo alone: what several photos, or a
    position, weigh beside it is not part of that. A set needs it.
    """
    _require_sensible(photos, min_confidence, top, samples)
    names = localizer.names
    read = [beliefs["both"] for beliefs in localizer.distributions([(photo,) for photo in photos])]
    raw = np.stack(read)  # (photos, pairs)
    calibration = None if localizer.run is None else Calibration.load(localizer.run)
    if coverage is not None and calibration is None:
        raise UsageError(f"{localizer.run} is not calibrated, so no set can promise a coverage; calibrate it")
    if coverage is not None and (len(photos) > 1 or near is not None):
        raise UsageError("a coverage can be promised for one photo alone; leave out the others and --near")
    sure = calibration.apply(raw) if calibration else normalised(raw)
    before = pairs_before(names, localizer.gazetteer)
    pairs = fuse(sure, before, independence=_INDEPENDENCE)
    if near is not None:  # its prior in place of the training's
        pairs = normalised(pairs - before + pairs_near(names, localizer.gazetteer, near, within_m))
    streets, districts = np.exp(of_streets(names, pairs)), np.exp(of_districts(names, pairs))
    foreign = float(none_of_these(raw).mean())
    result: dict[str, Any] = {
        **_decision(localizer, pairs, streets, districts, foreign, min_confidence),
        "calibrated": calibration is not None and len(photos) == 1 and near is None,
        "none_of_these": foreign,
        "streets": _ranked(names.streets, streets, top),
        "districts": _ranked(names.districts, districts, top),
    }
    if calibration is not None and coverage is not None:
        inside = calibration.names_to_cover(of_streets(names, pairs), "street", coverage)
        result["set"] = {"coverage": coverage, "streets": [names.streets[number] for number in inside]}
    if samples:
        result["samples"] = _sampled(localizer, photos[0], samples, temperature, seed)
    if out is not None:
        about = {} if localizer.run is None else require_complete(localizer.run)
        result["files"] = write_maps(
            out,
            result,
            dict(zip(names.streets, streets.tolist(), strict=True)),
            localizer.gazetteer,
            photos,
            near=near,
            levels=localizer.levels,
            attribution=about.get("attribution", ""),
        )
    return result


def _decision(
    localizer: Localizer,
    pairs: Floats,
    streets: Floats,
    districts: Floats,
    foreign: float,
    min_confidence: float,
) -> dict[str, Any]:
    """What is answered at which granularity, how sure, and the same in words."""
    names = localizer.names
    street, district = int(streets.argmax()), int(districts.argmax())
    # The likeliest pair may lie on another street, where one street runs through several districts.
    along = [number for number, (_, owner) in enumerate(names.pairs) if owner == street]
    within = names.districts[names.pairs[max(along, key=lambda number: pairs[number])][0]]
    told = [
        ("street", names.streets[street], f", {within}", float(streets[street])),
        ("district", names.districts[district], "", float(districts[district])),
    ]
    for granularity, surest, behind, confidence in told:
        if confidence >= min_confidence and foreign <= _FOREIGN:
            answer, words = surest + behind, f"{surest} ({100 * confidence:.0f} %){behind}"
            return {
                "answer": answer,
                "granularity": granularity,
                "confidence": confidence,
                "in_words": words,
            }
    words = "no address of this city" if foreign > _FOREIGN else "too unsure to say"
    return {
        "answer": UNKNOWN,
        "granularity": UNKNOWN,
        "confidence": told[-1][2],
        "in_words": f"{UNKNOWN}: {words}",
    }


def _ranked(names: Sequence[str], probabilities: Floats, top: int) -> list[dict[str, Any]]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [{"name": names[number], "probability": float(probabilities[number])} for number in order]


def _sampled(
    localizer: Localizer, photo: Path, samples: int, temperature: float, seed: int
) -> dict[str, Any]:
    """Fig. 5: sampled answers to the street question by street, and their exact probabilities."""
    question = plain_questions(localizer.levels)["street"]
    answers = localizer.sample(photo, question, samples=samples, temperature=temperature, seed=seed)
    histogram = street_histogram(answers, localizer.gazetteer)
    exact = np.exp(localizer.distribution(photo, question, "street", temperature=temperature))
    expected = dict(zip(localizer.names.streets, exact.tolist(), strict=True))
    rows = histogram.streets[["name", "count", "share"]].to_dict("records")
    return {
        "question": question,
        "answers": samples,
        "temperature": temperature,
        "seed": seed,
        "streets": [{**row, "expected": expected[row["name"]]} for row in rows],
        "none_of_these": {"share": histogram.none_of_these, "expected": max(0.0, 1.0 - float(exact.sum()))},
    }


def _require_sensible(photos: Sequence[Path], min_confidence: float, top: int, samples: int) -> None:
    if not photos:
        raise UsageError("there is no photo to locate; give at least one")
    if not 0 <= min_confidence <= 1:
        raise UsageError(f"min_confidence is {min_confidence}, but it must be from 0 to 1")
    if top < 1:
        raise UsageError(f"top is {top}, but it must be at least 1")
    if samples and len(photos) > 1:
        raise UsageError("samples are of one photo; leave out --samples, or the other photos")
