import math

import numpy as np
import pytest
from numpy.typing import NDArray

from crma_eval.stats import Paired, Share, bootstrap_interval, interval, paired, percentile, share

Floats = NDArray[np.float64]


def wilson(right: int, asked: int) -> tuple[float, float]:
    """Wilson's interval by its formula, z of 95%."""
    z, p = 1.959963984540054, right / asked
    middle = p + z * z / (2 * asked)
    half = z * (p * (1 - p) / asked + z * z / (4 * asked * asked)) ** 0.5
    return (middle - half) / (1 + z * z / asked), (middle + half) / (1 + z * z / asked)


@pytest.mark.parametrize(("right", "asked"), [(98, 100), (0, 20), (20, 20), (7, 20), (1, 1)])
def test_wilson_by_its_formula(right: int, asked: int) -> None:
    assert Share(right, asked).interval == pytest.approx(wilson(right, asked), abs=1e-9)


def test_wilson_by_a_published_value() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3: 81 of 263.
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (3, 1, 2 * (1 + 4) / 16),  # two-sided binomial tail by hand: 2 * P(X >= 3), n = 4
        (5, 0, 2 / 32),
        (0, 5, 2 / 32),
        (6, 0, 2 / 64),
        (4, 4, 1.0),
        (0, 0, 1.0),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p: float) -> None:
    assert Paired(100, only_first, only_second).p == pytest.approx(p)


def test_counts_pairs_and_shares() -> None:
    first, second = [True, True, False, True, False], [True, False, True, False, False]
    assert paired(first, second) == Paired(5, 2, 1)
    assert paired(first, second).lead == 1
    assert share(first) == Share(3, 5)


def test_unequal_numbers_of_answers_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired([True], [True, False])


def test_no_rows_tell_nothing() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    assert math.isnan(percentile([], 50))
    assert percentile([1.0, 3.0], 50) == 2.0


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(np.mean, list(values))
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05)
    assert bootstrap_interval(np.mean, list(values)) == (low, high)


def test_columns_are_resampled_in_pairs() -> None:
    """Each row's ratio is 2, so no resample of pairs has another."""

    def ratio(first: Floats, second: Floats, axis: int) -> Floats:
        return np.asarray(first.sum(axis=axis) / second.sum(axis=axis))

    assert bootstrap_interval(ratio, [2.0, 4.0, 8.0, 20.0], [1.0, 2.0, 4.0, 10.0]) == (2.0, 2.0)
    assert bootstrap_interval(np.median, [1.5]) == (1.5, 1.5)
