"""The words follow the figures, whichever way they fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crma_eval.learning.bootstrap import BootstrapConfig, Interval
from crma_eval.learning.comparison import Comparison, compare, own_drift
from crma_eval.learning.results import collect
from crma_eval.learning.spread import Spread, disjoint
from crma_eval.learning.verdict import FROZEN_NOTE, against_frozen, against_naive, modular_drift, verdicts

if TYPE_CHECKING:
    from tests.eval.conftest import RunMaker

SEEDS = (0, 42, 1234)


def judged(naive: tuple[float, ...], modular: tuple[float, ...], low: float, high: float) -> str:
    first, second = Spread(naive), Spread(modular)
    interval = Interval(first.mean - second.mean, low, high, 1.0, SEEDS[: len(modular)])
    comparison = Comparison("naive", interval, None, None, disjoint(first, second))
    return against_naive(first, second, comparison)


def test_naive_above_modular_with_disjoint_ranges() -> None:
    said = judged((0.30, 0.35, 0.40), (0.01, 0.0, -0.01), 0.28, 0.42)
    assert said == (
        "**MODULAR drifts less than NAIVE here.** NAIVE drifts +35.00 %, MODULAR +0.00 %; the per-seed "
        "ranges are disjoint (NAIVE +30.00 % to +40.00 %; MODULAR -1.00 % to +1.00 %); the difference is "
        "+35.00 points, +28.00 to +42.00 (paired bootstrap, 95 % interval). This holds for these domains in "
        "this order, this base model and these sizes."
    )


def test_overlapping_ranges_show_nothing_even_with_a_sharp_interval() -> None:
    said = judged((0.02, 0.10, 0.12), (0.01, 0.0, 0.03), 0.04, 0.09)
    assert said.startswith("**Not shown: that MODULAR drifts less than NAIVE.**")
    assert "the per-seed ranges overlap (NAIVE +2.00 % to +12.00 %; MODULAR +0.00 % to +3.00 %)" in said
    assert "MODULAR drifts less than NAIVE here" not in said


def test_modular_above_naive_is_said_plainly() -> None:
    said = judged((0.0, 0.01, 0.0), (0.1, 0.2, 0.3), -0.25, -0.15)
    assert said.startswith("**The contrary of the claim: MODULAR drifts more than NAIVE here.**")


def test_disjoint_ranges_are_not_enough_if_the_rows_could_explain_it() -> None:
    said = judged((0.02, 0.021, 0.022), (0.01, 0.011, 0.012), -0.005, 0.025)
    assert said.startswith("**Not settled.**") and "which includes 0" in said


def test_one_seed_is_no_evidence() -> None:
    said = judged((0.5,), (0.01,), 0.4, 0.6)
    assert "no evidence either way" in said and "disjoint" not in said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.001, 0.01, "MODULAR does forget: its own drift is +0.50 %"),
        (-0.01, -0.001, "MODULAR's earlier domains got better"),
        (-0.002, 0.012, "not distinguishable from 0, which does not prove that it is 0"),
    ],
)
def test_modulars_own_drift(low: float, high: float, said: str) -> None:
    assert said in modular_drift(Interval(0.005, low, high, 0.9, SEEDS))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "MODULAR ends at a lower loss than FROZEN ("),
        (-0.03, -0.01, "MODULAR ends at a higher loss than FROZEN ("),
        (-0.01, 0.03, "It is not shown that MODULAR ends at another loss than FROZEN ("),
    ],
)
def test_modular_against_frozen(low: float, high: float, said: str) -> None:
    found = against_frozen("ends", Interval((low + high) / 2, low, high, 0.9, SEEDS))
    assert found is not None and found.startswith(said)
    assert "rows only" not in found
    alone = against_frozen("ends", Interval((low + high) / 2, low, high, 0.9, (0,)))
    assert alone is not None and "one seed: rows only" in alone
    assert against_frozen("ends", None) is None


def test_frozens_zero_is_called_no_result_and_a_drifting_frozen_a_fault(maker: RunMaker) -> None:
    still = maker.run([[2, 4], [2, 1]], method="frozen")
    moved = maker.run([[2, 4], [2.02, 1]], method="frozen", seed=1)
    config = BootstrapConfig(resamples=50)
    for runs, expected in (([still], FROZEN_NOTE), ([moved], FROZEN_NOTE + " Yet +1.000000 % was measured")):
        results = collect(runs)
        (said,) = verdicts(results, compare(results, config), own_drift(results, config))
        assert said.startswith(expected) and ("fault" in said) == (runs == [moved])
    assert "0 by construction" in FROZEN_NOTE and "learning advantage" in FROZEN_NOTE


def test_nothing_is_said_of_methods_that_were_not_run(maker: RunMaker) -> None:
    results = collect([maker.noisy("ewc", 0, 0.1)])
    assert verdicts(results, {}, own_drift(results, BootstrapConfig(resamples=50))) == ()
