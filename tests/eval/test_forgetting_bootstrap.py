"""The bootstrap against distributions worked out by hand, and against effects that were put in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from crma_adapters.errors import ConfigError
from crma_eval.learning.bootstrap import (
    BootstrapConfig,
    Interval,
    bootstrap,
    final_loss,
    learnt_loss,
    mean_drift,
)
from crma_eval.learning.scores import DomainScores, MethodRun, RowScore
from crma_eval.learning.statistics import run_statistics

if TYPE_CHECKING:
    from tests.eval.conftest import RunMaker

QUICK = BootstrapConfig(resamples=2000)


def two_domains(learnt: list[float], final: list[float], seed: int = 0, method: str = "naive") -> MethodRun:
    """Rows of one token in a first domain, learnt then drifted; a second domain of one row."""

    def rows(losses: list[float]) -> DomainScores:
        return DomainScores(tuple(RowScore(loss, 1, False) for loss in losses), ())

    last = rows([1.0])
    return MethodRun(
        method, seed, ("a", "b"), (rows(learnt), last), ((rows(learnt), last), (rows(final), last))
    )


def found(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


def test_resampled_rows_by_hand() -> None:
    """Two rows drifting 0 and 2: a resample drifts 0, 1 or 2 with chances 1/4, 1/2, 1/4."""
    interval = found(bootstrap(mean_drift, [two_domains([1, 1], [1, 3])]))
    assert interval.estimate == pytest.approx(1.0)
    assert (interval.low, interval.high) == pytest.approx((0.0, 2.0))
    assert interval.same_sign == pytest.approx(0.75, abs=0.02)
    assert not interval.excludes_zero


def test_resampled_seeds_by_hand() -> None:
    """Two seeds drifting 0.1 and 0.3, rows all equal: means 0.1, 0.2, 0.3."""
    runs = [two_domains([1, 1], [1.1, 1.1], seed=0), two_domains([1, 1], [1.3, 1.3], seed=1)]
    interval = found(bootstrap(mean_drift, runs))
    assert interval.estimate == pytest.approx(0.2)
    assert (interval.low, interval.high) == pytest.approx((0.1, 0.3))
    assert interval.same_sign == 1 and interval.excludes_zero and interval.seeds == (0, 1)


def test_seeds_share_the_rows_so_their_chance_does_not_average_out() -> None:
    """Eight seeds alike: no more is known of the rows than from one."""
    seeds = [two_domains([1, 1], [1, 3], seed=seed) for seed in range(8)]
    interval = found(bootstrap(mean_drift, seeds))
    assert (interval.low, interval.high) == pytest.approx((0.0, 2.0))


def test_rows_count_by_their_tokens(maker: RunMaker) -> None:
    runs = [maker.noisy("naive", seed, 0.1) for seed in (0, 42, 1234)]
    figures = [run_statistics(run) for run in runs]
    drifts = [figure.drift.mean for figure in figures if figure.drift]
    assert found(bootstrap(mean_drift, runs, config=QUICK)).estimate == pytest.approx(np.mean(drifts))
    for quantity, expected in (
        (final_loss, [figure.final_loss for figure in figures]),
        (learnt_loss, [figure.learnt_loss or 0 for figure in figures]),
    ):
        assert found(bootstrap(quantity, runs, config=QUICK)).estimate == pytest.approx(np.mean(expected))


def test_a_method_against_itself_differs_by_nothing(maker: RunMaker) -> None:
    runs = [maker.noisy("naive", seed, 0.1) for seed in (0, 1, 2)]
    assert bootstrap(mean_drift, runs, runs, QUICK) == Interval(0.0, 0.0, 0.0, 1.0, (0, 1, 2))


def test_pairing_cancels_what_the_methods_share(maker: RunMaker) -> None:
    """Rows differ by 40 % in difficulty, methods by 2 % of noise: only the difference is sharp."""
    naive, frozen = ([maker.noisy(name, seed, 0.0) for seed in (0, 1, 2)] for name in ("naive", "frozen"))
    own, paired = found(bootstrap(final_loss, naive)), found(bootstrap(final_loss, naive, frozen))
    assert paired.high - paired.low < 0.1 * (own.high - own.low)


def test_the_difference_has_the_sign_of_the_first(maker: RunMaker) -> None:
    naive = [maker.noisy("naive", seed, 0.15) for seed in (0, 42)]
    modular = [maker.noisy("modular", seed, 0.0) for seed in (0, 42)]
    one, other = found(bootstrap(mean_drift, naive, modular)), found(bootstrap(mean_drift, modular, naive))
    assert one.low > 0.1 and one.same_sign == 1
    assert (other.estimate, other.high, other.low) == pytest.approx((-one.estimate, -one.low, -one.high))


def test_the_interval_covers_an_effect_that_was_put_in() -> None:
    """40 experiments whose drift differs by 0.2 on average: a 95 % interval misses few of them."""
    chance = np.random.default_rng(3)
    config, covered = BootstrapConfig(resamples=300), 0
    for _ in range(40):
        hard = chance.lognormal(0, 0.3, size=50)

        def drifted(level: float, seed: int, hard: np.ndarray = hard) -> MethodRun:
            own = level + 0.03 * chance.normal()
            noise = 0.1 * chance.normal(size=hard.size)
            return two_domains(list(hard), list(hard * (1 + own + noise)), seed)

        first = [drifted(0.3, seed) for seed in range(10)]
        second = [drifted(0.1, seed) for seed in range(10)]
        interval = found(bootstrap(mean_drift, first, second, config))
        covered += interval.low <= 0.2 <= interval.high
        assert interval.high - interval.low < 0.1
    assert covered >= 33


def test_the_same_state_gives_the_same_interval(maker: RunMaker) -> None:
    runs = [maker.noisy("naive", seed, 0.1) for seed in (0, 1, 2)]
    assert bootstrap(mean_drift, runs, config=QUICK) == bootstrap(mean_drift, runs, config=QUICK)
    other = BootstrapConfig(resamples=2000, seed=1)
    assert bootstrap(mean_drift, runs, config=QUICK) != bootstrap(mean_drift, runs, config=other)


def test_only_shared_seeds_are_compared(maker: RunMaker) -> None:
    ewc = [maker.noisy("ewc", 42, 0.1)]
    modular = [maker.noisy("modular", seed, 0.0) for seed in (0, 42, 1234)]
    assert found(bootstrap(mean_drift, ewc, modular, QUICK)).seeds == (42,)
    assert bootstrap(mean_drift, ewc, [maker.noisy("modular", 7, 0.0)], QUICK) is None


def test_joint_training_has_a_final_loss_and_no_drift(maker: RunMaker) -> None:
    joint = [maker.noisy("joint", 0, 0.0, stages=False)]
    modular = [maker.noisy("modular", 0, 0.0)]
    assert bootstrap(mean_drift, joint, modular, QUICK) is None
    assert bootstrap(learnt_loss, joint, config=QUICK) is None
    assert bootstrap(final_loss, joint, modular, QUICK) is not None


def test_runs_on_other_rows_are_refused(maker: RunMaker) -> None:
    first, second = [maker.noisy("naive", 0, 0.1)], [maker.noisy("modular", 0, 0.0, rows=59)]
    with pytest.raises(
        ConfigError, match=r"modular \(seed 0\) and naive \(seed 0\) were not measured on the"
    ):
        bootstrap(mean_drift, first, second)
