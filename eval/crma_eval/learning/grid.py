"""Learning rates: every method at every rate of one grid on validation rows, and the best of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from crma_adapters.errors import ConfigError, TrainingError
from crma_eval.learning.protocol import Cell, Experiment
from crma_eval.report import Section
from crma_training.methods.method import Method
from crma_training.methods.registry import METHODS


@dataclass(frozen=True)
class Tried:
    """One method over the grid. `losses` by rate: mean over domains after the last one, nats per answer token
    of the validation rows; None where training diverged.
    """

    method: str
    losses: Mapping[float, float | None]

    @property
    def best(self) -> float:
        """The rate of the least loss, the smaller one of two alike. Raises `ConfigError` if all diverged."""
        found = {rate: loss for rate, loss in self.losses.items() if loss is not None}
        if not found:
            raise ConfigError(
                f"{self.method} diverged at every rate of {', '.join(f'{r:g}' for r in self.losses)}; "
                "give --grid smaller rates"
            )
        return min(sorted(found), key=lambda rate: found[rate])

    @property
    def at_edge(self) -> bool:
        """Whether the best is the grid's largest or smallest, so that one beyond might be better."""
        return len(self.losses) > 1 and self.best in (min(self.losses), max(self.losses))


def tuned(methods: Sequence[Method]) -> tuple[Method, ...]:
    """The methods that need a rate of their own: those that build on another take its stages as they are."""
    roots = [METHODS[method.basis] if method.basis else method for method in methods]
    return tuple({method.name: method for method in roots}.values())


def try_rates(
    experiment: Experiment,
    methods: Sequence[Method],
    rates: Sequence[float],
    seed: int,
    learnt: Callable[[str], None] = lambda _name: None,
    say: Callable[[str], None] = print,
) -> dict[str, Tried]:
    """Every method that trains, by name; `experiment` measures on validation rows."""
    found = {}
    for method in tuned(methods):
        losses = {rate: _loss(experiment, Cell(method, seed, rate), learnt, say) for rate in rates}
        found[method.name] = Tried(method.name, losses)
    return found


def rate_of(method: Method, tried: Mapping[str, Tried]) -> float:
    """The best rate of the method, or of the one it builds on."""
    return tried[method.basis or method.name].best


def grid_section(tried: Mapping[str, Tried], rows: int) -> Section:
    """Every rate that was tried, and what was taken."""
    rates = sorted({rate for each in tried.values() for rate in each.losses})
    table = []
    for each in tried.values():
        losses = [each.losses.get(rate) for rate in rates]
        texts = ["diverged" if loss is None else f"{loss:.4f}" for loss in losses]
        table.append((each.method, *texts, f"{each.best:g}" + (" (edge)" if each.at_edge else "")))
    remarks = (
        "Mean loss over domains after the last one, nats per answer token, on validation rows taken out of "
        "the training rows: other phrasings of facts that stay trained, where rows say what they are "
        f"about ({rows} a domain); first seed only. A rate is that of LoRAs and of CRMA's projections alike. "
        "*edge*: the best is the grid's first or last.",
    )
    header = ("method", *(f"{rate:g}" for rate in rates), "taken")
    return Section("Learning rates tried", header, tuple(table), remarks)


def grid_figures(tried: Mapping[str, Tried]) -> dict[str, Any]:
    """For the report's JSON."""
    return {
        name: {"losses": {f"{rate:g}": loss for rate, loss in each.losses.items()}, "taken": each.best}
        for name, each in tried.items()
    }


def _loss(
    experiment: Experiment, cell: Cell, learnt: Callable[[str], None], say: Callable[[str], None]
) -> float | None:
    try:
        run = experiment.result(cell, learnt).run
    except TrainingError as error:
        say(f"{cell.method.name} at {cell.rate:g}: {error}")
        return None
    experiment.discard(cell)
    return fmean(domain.loss for domain in run.final)
