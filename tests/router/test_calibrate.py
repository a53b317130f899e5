"""Calibration on data whose right answer is known."""

import numpy as np
import pytest

from crma_router.classifier.calibration import balanced_quantile, class_weights, fit_temperature, standardise
from crma_router.classifier.domain_classifier import softmax


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    chance = np.random.default_rng(0)
    logits = chance.standard_normal((20_000, 4)).astype(np.float32) * 3
    draws = chance.random((len(logits), 1))
    labels = (softmax(logits / np.float32(temperature)).cumsum(axis=1) < draws).sum(axis=1).clip(max=3)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.1)


def test_class_weights_sum_to_the_same_for_each_class() -> None:
    weights = class_weights(np.array([0, 0, 0, 2]))
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_a_small_class_counts_as_much_as_a_large_one() -> None:
    values = np.array([1.0] * 98 + [5.0, 9.0], np.float32)
    labels = np.array([0] * 98 + [1, 1])
    assert balanced_quantile(values, labels, 0.5) == 1.0
    assert balanced_quantile(values, labels, 0.75) == 5.0
    assert balanced_quantile(values, labels, 0.95) == 9.0
    assert balanced_quantile(values, np.zeros(100, np.int64), 0.95) == 1.0


def test_the_whole_weight_is_the_largest_value() -> None:
    values = np.arange(7, dtype=np.float32)
    assert balanced_quantile(values, np.zeros(7, np.int64), 1.0) == 6.0


def test_standardised_readings_have_mean_zero_and_deviation_one() -> None:
    reading = np.array([3.0, 5.0, 10.0], np.float32)
    standard = standardise(reading).of(reading)
    assert standard.mean() == pytest.approx(0, abs=1e-6)
    assert standard.std() == pytest.approx(1, rel=1e-6)


def test_a_constant_reading_divides_by_no_zero() -> None:
    reading = np.full(5, 2.0, np.float32)
    assert standardise(reading).of(reading).tolist() == [0.0] * 5
