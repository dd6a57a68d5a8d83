from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import write_json
from addressvlm.inference.calibration import CALIBRATION, Calibration, calibrate, fit_temperature, tempered
from addressvlm.inference.fusion import normalised
from addressvlm.inference.gazetteer import Gazetteer

TOWN = Gazetteer(("North", "South"), ("Oak", "Elm"), ((0, 0), (1, 0), (1, 1)), {}, {})


def beliefs_and_truths(photos: int, names: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Beliefs that are right as they are: every truth is drawn from its belief."""
    dice = np.random.default_rng(seed)
    log_p = normalised(2 * dice.normal(size=(photos, names)))
    return log_p, np.array([dice.choice(names, p=np.exp(row)) for row in log_p])


def photos_at(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["district", "street", "location"])


@pytest.mark.parametrize("overconfidence", [1.0, 3.0, 0.4])
def test_the_temperature_undoes_overconfidence(overconfidence: float) -> None:
    log_p, truths = beliefs_and_truths(6000, 5, seed=1)
    found = fit_temperature(normalised(log_p * overconfidence), truths)
    assert found == pytest.approx(overconfidence, rel=0.06)


def test_an_impossible_truth_does_not_decide_everything() -> None:
    log_p, truths = beliefs_and_truths(6000, 5, seed=1)
    log_p[0], truths[0] = np.log([1e-300, 0.25, 0.25, 0.25, 0.25]), 0
    assert fit_temperature(log_p, truths) == pytest.approx(1.0, rel=0.06)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_hold_the_truth_as_often_as_promised(coverage: float) -> None:
    log_p, truths = beliefs_and_truths(4000, 6, seed=2)
    overconfident = normalised(log_p * 2)
    told = sorted(np.exp(overconfident[np.arange(2000), truths[:2000]]).tolist())
    calibration = Calibration(1.0, {"street": [(one, 1.0) for one in told]}, "")
    held = [
        truth in calibration.names_to_cover(row, "street", coverage)
        for row, truth in zip(overconfident[2000:], truths[2000:], strict=True)
    ]
    assert np.mean(held) == pytest.approx(coverage, abs=0.03)


def test_a_set_holds_at_least_one_name_and_the_likeliest_first() -> None:
    calibration = Calibration(1.0, {"street": [(0.1, 1.0), (0.9, 1.0)]}, "")
    belief = np.log([0.2, 0.5, 0.3])
    assert calibration.names_to_cover(belief, "street", 0.3).tolist() == [1]
    assert calibration.names_to_cover(belief, "street", 0.6).tolist() == [1, 2, 0]
    assert calibration.names_to_cover(belief, "street", 0.99).tolist() == [1, 2, 0]


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0, float("nan")])
def test_an_impossible_coverage_is_an_error(coverage: float) -> None:
    with pytest.raises(UsageError, match="it must be between 0 and 1"):
        Calibration(1.0, {"street": [(0.5, 1.0)]}, "").threshold("street", coverage)


def test_a_calibration_is_of_pairs_and_tells_of_streets_and_districts(tmp_path: Path) -> None:
    pairs = np.log([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]])
    photos = photos_at(("South", "Oak", "a"), ("South", "Elm", "b"), ("West", "Oak", "c"))
    calibration = calibrate(TOWN, pairs, photos, "abc")
    told = np.exp(tempered(pairs, calibration.temperature))
    true = {level: [probability for probability, _ in ones] for level, ones in calibration.truths.items()}
    assert true["both"] == pytest.approx(sorted([told[0, 1], told[1, 2]]))
    assert true["street"] == pytest.approx(sorted([told[0, 0] + told[0, 1], told[1, 2]]))
    assert true["district"] == pytest.approx(sorted([told[0, 1] + told[0, 2], told[1, 1] + told[1, 2]]))
    calibration.save(tmp_path)
    assert Calibration.load(tmp_path) == calibration


def test_photos_of_a_place_weigh_as_much_as_one() -> None:
    pairs = np.log([[0.5, 0.2, 0.3]] * 4)
    photos = photos_at(*(("South", "Oak", place) for place in "aaab"))
    truths = calibrate(TOWN, pairs, photos, "").truths
    assert sorted(weight for _, weight in truths["both"]) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_sets_keep_their_promise_for_photos_of_places_that_were_not_seen() -> None:
    dice = np.random.default_rng(5)
    places, views, held = 12, 16, []
    for _ in range(400):
        # How well a place can be told is a matter of the place; views of it differ little.
        true = 1 / (
            1 + np.exp(-(dice.normal(size=(places + 1, 1)) + 0.2 * dice.normal(size=(places + 1, views))))
        )
        told = sorted((one, 1 / views) for one in true[:places].ravel().tolist())
        least = Calibration(1.0, {"street": told}, "").threshold("street", 0.9)
        held.append((true[places] >= least).mean())
    assert 0.9 <= np.mean(held) <= 0.97  # 0.87 if every photo counted alike


def test_a_calibration_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / CALIBRATION, {"temperature": 1.0, "truths": {"street": [0.5]}, "dataset": ""})
    with pytest.raises(AddressVLMError, match="calibrate .* again"):
        Calibration.load(tmp_path)


def test_a_run_may_be_without_calibration(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path) is None


def test_without_a_known_address_there_is_nothing_to_calibrate() -> None:
    with pytest.raises(AddressVLMError, match="nothing to calibrate"):
        calibrate(TOWN, np.log([[0.5, 0.2, 0.3]]), photos_at(("West", "Oak", "a")), "")
