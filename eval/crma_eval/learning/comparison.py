"""Every method against MODULAR: the bootstrap's intervals, and whether the seeds' ranges meet."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crma_eval.learning.bootstrap import (
    BootstrapConfig,
    Interval,
    bootstrap,
    final_loss,
    learnt_loss,
    mean_drift,
)
from crma_eval.learning.results import MODULAR, MethodResults
from crma_eval.learning.spread import disjoint


@dataclass(frozen=True)
class Comparison:
    """One method less MODULAR, on the seeds that both have; a positive difference is in MODULAR's favour.

    Attributes:
        drift: difference of mean drift, a ratio.
        learnt: difference of mean loss right after learning, nats per token: for FROZEN, MODULAR's learning
            advantage.
        final: difference of mean loss after the last stage, nats per token.
        disjoint: whether the per-seed ranges of drift do not meet; None if one of them has one seed.
    """

    method: str
    drift: Interval | None
    learnt: Interval | None
    final: Interval | None
    disjoint: bool | None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds compared."""
        return self.final.seeds if self.final else ()

    def figures(self) -> dict[str, Any]:
        """For the report's JSON."""
        return asdict(self) | {"against": MODULAR}


def compare(results: Mapping[str, MethodResults], config: BootstrapConfig) -> Mapping[str, Comparison]:
    """Every other method against MODULAR, by method; none without MODULAR."""
    if MODULAR not in results:
        return {}
    modular = results[MODULAR]
    return {name: _compare(found, modular, config) for name, found in results.items() if name != MODULAR}


def own_drift(results: Mapping[str, MethodResults], config: BootstrapConfig) -> Mapping[str, Interval]:
    """The interval of each method's own drift, by method; methods without a drift are left out."""
    found = {name: bootstrap(mean_drift, result.runs, config=config) for name, result in results.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def _compare(other: MethodResults, modular: MethodResults, config: BootstrapConfig) -> Comparison:
    drift, learnt, final = (
        bootstrap(quantity, other.runs, modular.runs, config)
        for quantity in (mean_drift, learnt_loss, final_loss)
    )
    apart = disjoint(other.drift, modular.drift) if other.drift and modular.drift else None
    return Comparison(other.method, drift, learnt, final, apart)
