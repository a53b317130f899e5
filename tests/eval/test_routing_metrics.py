"""The formulas against values worked out by hand and by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from crma_eval.routing.judged import (
    auroc,
    calibration_error,
    false_positive_rate,
    macro_f1,
    reliability,
    risk_at,
    risk_coverage,
)

CHANCE = np.random.default_rng(0)


def test_macro_f1_is_scikit_learns_and_none_is_no_class() -> None:
    wanted = list(CHANCE.choice(list("abc"), 200))
    given = list(CHANCE.choice(list("abc"), 200))
    assert macro_f1(wanted, given) == pytest.approx(f1_score(wanted, given, average="macro"))
    assert macro_f1(["a", "a", "b"], ["a", None, "b"]) == pytest.approx((2 / 3 + 1) / 2)
    assert macro_f1(["a"], [None]) == 0.0


def test_auroc_is_scikit_learns_with_ties() -> None:
    inside, outside = CHANCE.integers(0, 10, 80).astype(float), CHANCE.integers(3, 13, 60).astype(float)
    wanted = roc_auc_score([0] * 80 + [1] * 60, [*inside, *outside])
    assert auroc(inside, outside) == pytest.approx(wanted)


def test_false_positives_are_those_as_near_as_the_share_inside() -> None:
    inside = np.arange(1.0, 101.0)
    assert false_positive_rate(inside, np.array([94.0, 95.0, 95.5, 200.0])) == 0.5
    assert false_positive_rate(inside, np.array([99.5, 100.0]), share=1.0) == 1.0


def test_bins_are_of_equal_mass_and_their_gaps_are_weighted() -> None:
    confidence = np.array([0.9, 0.6, 0.8, 0.7])
    right = np.array([True, False, True, False])
    low, high = reliability(confidence, right, bins=2)
    assert (low.count, low.accuracy, high.accuracy) == (2, 0.0, 1.0)
    assert calibration_error(confidence, right, bins=2) == pytest.approx((0.65 + 0.15) / 2)
    assert calibration_error(confidence, right, bins=15) == pytest.approx((0.1 + 0.6 + 0.2 + 0.7) / 4)


def test_risk_is_of_the_surest() -> None:
    coverage, risk = risk_coverage(np.array([0.2, 0.9, 0.5, 0.7]), np.array([False, True, True, False]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == [0.0, 0.5, 1 / 3, 0.5]
    assert risk_at(np.array([0.2, 0.9, 0.5, 0.7]), np.array([False, True, True, False]), 0.75) == 1 / 3
