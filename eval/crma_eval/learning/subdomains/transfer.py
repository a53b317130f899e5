"""Forward transfer over many small sub-domains of several fields: what is learnt from few rows, and kept.

    fields -> sub-domains -> for each size and order a dataset -> cells -> outcomes -> differences

A method is run for every size (training rows a sub-domain), order and seed; differences of two methods are
resampled by sub-domain, then by seed and by order.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crma_adapters.errors import ConfigError
from crma_eval.learning.bootstrap import BootstrapConfig, Interval, clustered, less
from crma_eval.learning.grid import Tried, rate_of, try_rates
from crma_eval.learning.protocol import Cell, Experiment
from crma_eval.learning.scores import DomainScores, MethodRun
from crma_eval.learning.setup import Protocol, Sizes
from crma_eval.learning.subdomains.protocol import write_dataset
from crma_eval.learning.subdomains.split import WIDE, Size, SubDomain, split_field
from crma_training.config import TrainConfig
from crma_training.data.dataset import domain_names
from crma_training.methods.method import Method
from crma_training.methods.per_domain import PerDomain
from crma_training.methods.plain import Joint

PHRASINGS = 3
FIGURES = ("learnt_loss", "learnt", "final_loss", "final")


@dataclass(frozen=True)
class Plan:
    """What is run. `rows` are the training rows a sub-domain, each `PHRASINGS` phrasings of a fact."""

    data: Path
    work: Path
    config: TrainConfig
    fields: tuple[str, ...]
    methods: tuple[Method, ...]
    rows: tuple[int, ...] = (6, 18, 54)
    seeds: tuple[int, ...] = (0, 42, 1234)
    orders: int = 2
    journal: Path | None = None
    grid: tuple[float, ...] = ()
    grid_domains: int = 5

    def __post_init__(self) -> None:
        for count in self.rows:
            if count < PHRASINGS or count % PHRASINGS:
                raise ConfigError(
                    f"--rows {count}: each fact is trained in {PHRASINGS} phrasings; give multiples of that"
                )
        if self.orders < 1:
            raise ConfigError(f"--orders is {self.orders}; give 1 or more")

    def parts(self, rows: int) -> dict[str, SubDomain]:
        """The sub-domains of that size by name, field after field in turn. Raises `DataError`."""
        size = size_of(rows)
        split = [
            [
                SubDomain(f"{name}-{part.name}", part.facts)
                for part in split_field(self.data, name, size, WIDE)
            ]
            for name in self.fields
        ]
        turns = max(map(len, split))
        return {
            parts[turn].name: parts[turn] for turn in range(turns) for parts in split if turn < len(parts)
        }


def size_of(rows: int) -> Size:
    """Every fact that is trained is probed."""
    return Size(rows // PHRASINGS, PHRASINGS, rows // PHRASINGS)


def order_of(names: Sequence[str], order: int) -> tuple[str, ...]:
    """Order 0 takes the fields in turn; the others are drawn from their number."""
    return tuple(names) if order == 0 else tuple(random.Random(order).sample(list(names), len(names)))


def needs_no_order(method: Method) -> bool:
    """Whether a sub-domain is learnt the same whatever came before, so that one order tells all."""
    if isinstance(method, Joint):
        return True
    return isinstance(method, PerDomain) and method.start == "fresh" and not method.shared_maps


@dataclass(frozen=True)
class Outcome:
    """One sub-domain's probes in one run: before it was learnt, right after, and at the end."""

    before: DomainScores
    learnt: DomainScores
    final: DomainScores


@dataclass(frozen=True)
class Outcomes:
    """A method at one size. `runs` by seed and order, each a sub-domain's outcome by name."""

    method: str
    parameters: int
    rate: float | None
    runs: dict[tuple[int, int], dict[str, Outcome]] = field(default_factory=dict)

    def table(self, figure: str) -> NDArray[np.float64]:
        """(sub-domains, seeds, orders): `learnt` and `final` are shares of probes right, `retained` the share
        right both times of those right when learnt (NaN without), losses nats per answer token.
        """
        seeds = sorted({seed for seed, _ in self.runs})
        orders = sorted({order for _, order in self.runs})
        names = sorted(next(iter(self.runs.values())))
        return np.array(
            [[[_figure(self.runs[s, o][name], figure) for o in orders] for s in seeds] for name in names]
        )

    def counts(self) -> tuple[int, int, int, int]:
        """Probes asked, right when learnt, of those right at the end, right at the end; over all runs."""
        pairs = [
            (learnt.exact, final.exact)
            for run in self.runs.values()
            for outcome in run.values()
            for learnt, final in zip(outcome.learnt.short_answer, outcome.final.short_answer, strict=True)
        ]
        return len(pairs), sum(a for a, _ in pairs), sum(a and b for a, b in pairs), sum(b for _, b in pairs)


@dataclass(frozen=True)
class SizeResult:
    """All methods at one number of training rows a sub-domain, and the learning rates tried for it."""

    rows: int
    domains: tuple[str, ...]
    methods: dict[str, Outcomes]
    tried: dict[str, Tried]


def run_size(
    plan: Plan, rows: int, learnt: Callable[[str], None], say: Callable[[str], None] = print
) -> SizeResult:
    """Trains and measures what is missing at one size."""
    parts, size = plan.parts(rows), size_of(rows)
    folder = plan.work / f"rows-{rows}"
    write_dataset(list(parts.values()), size, folder / "data")
    sizes = Sizes(train=rows, holdout=1, short_answer=size.probes)
    tried = _tried(plan, folder, rows, tuple(parts), say)
    protocol = Protocol(folder / "data", plan.config, sizes, tuple(parts))
    return SizeResult(rows, tuple(parts), _run_orders(plan, protocol, folder, tried, learnt, say), tried)


def run_benchmark(
    plan: Plan, sizes: Sizes, learnt: Callable[[str], None], say: Callable[[str], None] = print
) -> SizeResult:
    """The same over the domains of a folder whose holdout rows have short answers themselves, tuned on their
    validation rows.
    """
    names = domain_names(plan.data)
    protocol = Protocol(plan.data, plan.config, sizes, names, exact_on_holdout=True)
    tried: dict[str, Tried] = {}
    if plan.grid:
        tuning = dataclasses.replace(protocol, split="validation", domains=names[: plan.grid_domains])
        tried = try_rates(
            Experiment(tuning, plan.work / "grid", say, plan.journal),
            plan.methods,
            plan.grid,
            plan.seeds[0],
            say=say,
        )
    found = _run_orders(plan, protocol, plan.work, tried, learnt, say)
    return SizeResult(sizes.train, names, found, tried)


def _run_orders(
    plan: Plan,
    protocol: Protocol,
    folder: Path,
    tried: dict[str, Tried],
    learnt: Callable[[str], None],
    say: Callable[[str], None],
) -> dict[str, Outcomes]:
    """Every order, method and seed."""
    found: dict[str, Outcomes] = {}
    names = protocol.domains or ()
    for order in range(plan.orders):
        ordered = dataclasses.replace(protocol, domains=order_of(names, order))
        experiment = Experiment(ordered, folder / f"order-{order}", say, plan.journal)
        for method in plan.methods:
            rate = rate_of(method, tried) if tried else None
            for seed in plan.seeds:
                if order and needs_no_order(method):
                    found[method.name].runs[seed, order] = found[method.name].runs[seed, 0]
                    learnt(method.name)
                    continue
                result = experiment.result(Cell(method, seed, rate))
                outcomes = found.setdefault(method.name, Outcomes(method.name, result.parameters, rate))
                outcomes.runs[seed, order] = outcomes_of(result.run)
                learnt(method.name)
    return found


def outcomes_of(run: MethodRun) -> dict[str, Outcome]:
    """Of a run; a method with its last stage alone (joint training) has learnt everything there."""
    if not all(run.matrix):
        pairs = zip(run.base, run.final, strict=True)
        return dict(zip(run.domains, (Outcome(base, end, end) for base, end in pairs), strict=True))
    states = [run.base, *run.matrix]
    return {
        name: Outcome(states[index][index], states[index + 1][index], run.final[index])
        for index, name in enumerate(run.domains)
    }


def difference(
    ours: Outcomes, other: Outcomes, figure: str, config: BootstrapConfig | None = None
) -> Interval:
    """Mean of `ours` less that of `other`, paired by sub-domain, seed and order; resampled by sub-domain, by
    seed and by order.
    """
    found = clustered(less, np.stack([ours.table(figure), other.table(figure)]), config)
    return dataclasses.replace(found, seeds=tuple(sorted({seed for seed, _ in ours.runs})))


def _figure(outcome: Outcome, figure: str) -> float:
    scores = getattr(outcome, figure.removesuffix("_loss"))
    rows = scores.short_answer
    if figure.endswith("_loss"):
        return float(sum(row.loss for row in rows) / sum(row.tokens for row in rows))
    return float(scores.accuracy)


def _tried(
    plan: Plan, folder: Path, rows: int, names: tuple[str, ...], say: Callable[[str], None]
) -> dict[str, Tried]:
    """The grid at this size on the first sub-domains: one phrasing of each fact is measured, not trained."""
    if not plan.grid:
        return {}
    sizes = Sizes(train=rows, holdout=rows // PHRASINGS, short_answer=0)
    tuning = Protocol(folder / "data", plan.config, sizes, names[: plan.grid_domains], "validation")
    experiment = Experiment(tuning, folder / "grid", say, plan.journal)
    return try_rates(experiment, plan.methods, plan.grid, plan.seeds[0], say=say)


def figures_of(result: SizeResult) -> dict[str, object]:
    """For the report's JSON."""
    return {
        "rows": result.rows,
        "domains": list(result.domains),
        "methods": {
            name: {
                "parameters": each.parameters,
                "learning_rate": each.rate,
                "counts": dict(zip(("asked", "learnt", "retained", "final"), each.counts(), strict=True)),
                **{key: each.table(key).tolist() for key in (*FIGURES, "before_loss")},
            }
            for name, each in result.methods.items()
        },
        "grid": {name: dataclasses.asdict(each) for name, each in result.tried.items()},
    }
