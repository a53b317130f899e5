from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crma_adapters.errors import ConfigError
from crma_eval.learning.results import collect

if TYPE_CHECKING:
    from tests.eval.conftest import RunMaker

LOSSES = [[2.0, 4.0], [2.2, 1.0]]


def test_the_main_methods_come_first_and_seeds_rise(maker: RunMaker) -> None:
    runs = [
        maker.run(LOSSES, method=name, seed=seed) for seed in (42, 0) for name in ("ewc", "naive", "modular")
    ]
    found = collect(runs)
    assert list(found) == ["modular", "naive", "ewc"]
    assert all(result.seeds == (0, 42) for result in found.values())


def test_figures_over_seeds(maker: RunMaker) -> None:
    runs = [maker.run(LOSSES), maker.run([[2.0, 4.0], [2.4, 1.0]], seed=1)]
    found = collect(runs)["modular"]
    assert found.drift is not None and found.drift.values == pytest.approx((0.1, 0.2))
    assert found.domain_drift(0) == found.drift and found.domain_drift(1) is None
    assert found.advantage(lambda a: a.nats) is None


def test_the_advantage_takes_the_seeds_that_frozen_has(maker: RunMaker) -> None:
    frozen = maker.run([[2.5, 4.0], [2.5, 1.5]], method="frozen", seed=1)
    found = collect([maker.run(LOSSES), maker.run(LOSSES, seed=1), frozen])
    advantage = found["modular"].advantage(lambda a: a.nats)
    assert advantage is not None and advantage.values == pytest.approx((0.5,))
    zero = found["frozen"].advantage(lambda a: a.nats)
    assert zero is not None and zero.values == (0.0,)


def test_runs_that_do_not_belong_together_are_refused(maker: RunMaker) -> None:
    one = maker.run(LOSSES)
    with pytest.raises(ConfigError, match="no runs to report"):
        collect([])
    with pytest.raises(ConfigError, match="modular with seed 0 is given twice"):
        collect([one, one])
    with pytest.raises(ConfigError, match=r"naive \(seed 0\) learnt a, b, c, modular a, b;"):
        collect([one, maker.run([[1, 1, 1]] * 3, method="naive")])
