"""Runs brought together by method: what the tables, the verdict and the plots are made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crma_adapters.errors import ConfigError
from crma_eval.learning.scores import MethodRun
from crma_eval.learning.spread import Spread, spread
from crma_eval.learning.statistics import (
    LearningAdvantage,
    RunStatistics,
    learning_advantage,
    run_statistics,
)

MODULAR, FROZEN, NAIVE, FROZEN_MATCHED = "modular", "frozen", "naive", "frozen-matched"
_LABELS = {MODULAR: "MODULAR", FROZEN: "FROZEN", NAIVE: "NAIVE", FROZEN_MATCHED: "FROZEN-matched"}
MAIN = tuple(_LABELS)


def label(method: str) -> str:
    """The method's name in print: the four of the main table in capitals, the others as they are."""
    return _LABELS.get(method, method)


@dataclass(frozen=True)
class MethodResults:
    """One method's runs in the order of their seeds, with each run's figures.

    Attributes:
        advantages: over FROZEN with the same seed; only the seeds that FROZEN has too.
    """

    method: str
    runs: tuple[MethodRun, ...]
    statistics: tuple[RunStatistics, ...]
    advantages: tuple[LearningAdvantage | None, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """In rising order."""
        return tuple(run.seed for run in self.runs)

    def over_seeds(self, figure: Callable[[RunStatistics], float | None]) -> Spread | None:
        """A figure over the method's seeds; None if it has none."""
        return spread(figure(statistics) for statistics in self.statistics)

    @property
    def drift(self) -> Spread | None:
        """The runs' drift, a ratio."""
        return self.over_seeds(lambda s: None if s.drift is None else s.drift.mean)

    def domain_drift(self, index: int) -> Spread | None:
        """The drift of one domain, a ratio; None for the last domain."""
        if index + 1 >= len(self.runs[0].domains):
            return None
        return self.over_seeds(lambda s: None if s.drift is None else s.drift.relative[index])

    def advantage(self, figure: Callable[[LearningAdvantage], float]) -> Spread | None:
        """Of the learning advantage over FROZEN."""
        return spread(None if advantage is None else figure(advantage) for advantage in self.advantages)


def collect(runs: Sequence[MethodRun]) -> Mapping[str, MethodResults]:
    """By method: the main four first, the others as they come.

    Raises:
        ConfigError: there is no run, one occurs twice, or they are of different domains or orders.
    """
    _check(runs)
    names = dict.fromkeys(run.method for run in runs)
    order = [name for name in MAIN if name in names] + [name for name in names if name not in MAIN]
    frozen = {run.seed: run for run in runs if run.method == FROZEN}
    return {name: _results([run for run in runs if run.method == name], frozen) for name in order}


def _results(runs: Sequence[MethodRun], frozen: Mapping[int, MethodRun]) -> MethodResults:
    ordered = tuple(sorted(runs, key=lambda run: run.seed))
    return MethodResults(
        method=ordered[0].method,
        runs=ordered,
        statistics=tuple(run_statistics(run) for run in ordered),
        advantages=tuple(learning_advantage(run, frozen[run.seed]) for run in ordered if run.seed in frozen),
    )


def _check(runs: Sequence[MethodRun]) -> None:
    if not runs:
        raise ConfigError("no runs to report; give one method and one seed at least")
    seen = set[tuple[str, int]]()
    for run in runs:
        if (run.method, run.seed) in seen:
            raise ConfigError(f"{run.method} with seed {run.seed} is given twice; give each run once")
        seen.add((run.method, run.seed))
        if run.domains != runs[0].domains:
            raise ConfigError(
                f"{run.method} (seed {run.seed}) learnt {', '.join(run.domains)}, {runs[0].method} "
                f"{', '.join(runs[0].domains)}; a table compares runs of the same domains in the same order"
            )
