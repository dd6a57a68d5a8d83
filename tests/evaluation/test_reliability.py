import numpy as np
import pytest

from addressvlm.evaluation.reliability import (
    area_under_risk,
    expected_calibration_error,
    reliability,
    risk_coverage,
    separation,
)


def test_bins_tell_confidence_and_truth() -> None:
    bins = reliability(np.array([0.05, 0.15, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 0.0]), bins=5)
    assert [(b.count, round(b.confidence, 3), b.right) for b in bins] == [(2, 0.1, 0.5), (2, 0.975, 0.5)]


def test_the_calibration_error_is_the_mean_gap() -> None:
    confidence, right = np.array([0.9] * 10 + [0.5] * 10), np.array([1.0] * 9 + [0.0] + [1.0] * 10)
    assert expected_calibration_error(confidence, right) == pytest.approx(0.25)
    assert expected_calibration_error(np.full(4, 0.75), np.array([1.0, 1.0, 1.0, 0.0])) == 0


def test_the_surest_are_answered_first() -> None:
    coverage, risk = risk_coverage(np.array([0.1, 0.9, 0.5, 0.7]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk == pytest.approx([0, 0, 1 / 3, 0.5])
    assert area_under_risk(np.array([0.9, 0.1]), np.array([1.0, 0.0])) == 0.25
    assert area_under_risk(np.array([0.1, 0.9]), np.array([1.0, 0.0])) == 0.75


def test_separation_is_the_chance_to_score_higher() -> None:
    assert separation([0.1, 0.2], [0.3, 0.4]) == 1.0
    assert separation([0.3, 0.4], [0.1, 0.2]) == 0.0
    assert separation([0.5, 0.5], [0.5]) == 0.5
    assert separation([0.1, 0.3], [0.2]) == 0.5
