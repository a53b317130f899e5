"""Percentiles, shares with Wilson's interval, McNemar's exact test, a bootstrap of paired rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, bootstrap

CONFIDENCE, RESAMPLES = 0.95, 10_000


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the nearest; NaN of nothing."""
    return float(np.percentile(values, percent)) if len(values) else math.nan


def interval(hits: int, rows: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, 0 to 1 (Wilson 1927); all of it where there are no rows."""
    if not rows:
        return 0.0, 1.0
    found = binomtest(hits, rows).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def bootstrap_interval(
    statistic: Callable[..., Any], *columns: Sequence[float], seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of `statistic(*columns, axis=-1)`, rows of all columns resampled together.

    One row alone cannot be resampled: both ends are what it gives.
    """
    values = tuple(np.asarray(column, dtype=float) for column in columns)
    if len(values[0]) < 2:
        alone = float(statistic(*values, axis=-1))
        return alone, alone
    rng = np.random.default_rng(seed)
    found = bootstrap(
        values, statistic, n_resamples=RESAMPLES, vectorized=True, paired=True, method="percentile",
        confidence_level=CONFIDENCE, random_state=rng,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Share:
    """`right` of `asked`."""

    right: int
    asked: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share of right answers, 0 to 1."""
        return interval(self.right, self.asked)


@dataclass(frozen=True)
class Paired:
    """Two arms on the same questions: right in the one alone, right in the other alone."""

    asked: int
    only_first: int
    only_second: int

    @property
    def lead(self) -> int:
        """How many more the first arm has right."""
        return self.only_first - self.only_second

    @property
    def p(self) -> float:
        """McNemar's exact p, two-sided: were both equally good, how often would they differ this much?"""
        differing = self.only_first + self.only_second
        return float(binomtest(self.only_first, differing, 0.5).pvalue) if differing else 1.0


def share(right: Sequence[bool]) -> Share:
    """Counts one arm's answers."""
    return Share(sum(right), len(right))


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Counts two arms' answers to the same questions, in the same order."""
    both = list(zip(first, second, strict=True))
    return Paired(len(both), both.count((True, False)), both.count((False, True)))
