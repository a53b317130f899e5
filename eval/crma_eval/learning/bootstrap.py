"""How sure a figure or a difference of two methods is: a paired bootstrap over seeds and rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from crma_adapters.errors import ConfigError
from crma_eval.learning.scores import DomainScores, MethodRun

Floats = NDArray[np.float64]
# From the losses when learnt and after the last stage, both (..., T), to one figure (...).
Quantity = Callable[[Floats, Floats], Floats]


def mean_drift(learnt: Floats, final: Floats) -> Floats:
    """Mean over all domains but the last of the relative change of loss, as `statistics.drift`."""
    return np.asarray((final / learnt - 1)[..., :-1].mean(axis=-1))


def learnt_loss(learnt: Floats, final: Floats) -> Floats:  # noqa: ARG001
    """Mean over domains of the loss right after learning, nats per token."""
    return np.asarray(learnt.mean(axis=-1))


def final_loss(learnt: Floats, final: Floats) -> Floats:  # noqa: ARG001
    """Mean over domains of the loss after the last stage, nats per token."""
    return np.asarray(final.mean(axis=-1))


@dataclass(frozen=True)
class BootstrapConfig:
    """How often, from which random state, and which share of resamples the interval holds."""

    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its percentile interval.

    Attributes:
        same_sign: share of resamples whose figure has the estimate's sign (0 counts as a sign).
        seeds: the seeds in it; with one only the rows are resampled.
    """

    estimate: float
    low: float
    high: float
    same_sign: float
    seeds: tuple[int, ...]

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class _Draws:
    """`seeds` (B, S): indices; `rows`: per domain (B, rows): how often each row was drawn."""

    seeds: NDArray[np.int64]
    rows: tuple[NDArray[np.uint16], ...]


def bootstrap(
    quantity: Quantity,
    runs: Sequence[MethodRun],
    against: Sequence[MethodRun] = (),
    config: BootstrapConfig | None = None,
) -> Interval | None:
    """`quantity`, mean over seeds, of a method's `runs`; less that of `against`'s over the seeds both have.

    None if a run lacks what the quantity needs, or if no seed is shared.

    Raises:
        ConfigError: the runs were not measured on the same rows.
    """
    config = config or BootstrapConfig()
    first, second = _by_seed(runs), _by_seed(against)
    seeds = tuple(sorted(first.keys() & second.keys() if against else first.keys()))
    if not seeds:
        return None
    methods = [[method[seed] for seed in seeds] for method in (first, second) if method]
    sizes = _check([run for method in methods for run in method])
    estimate = float(_figures(quantity, methods, _whole(len(seeds), sizes))[0])
    if not np.isfinite(estimate):
        return None
    return _interval(estimate, _figures(quantity, methods, _draw(config, len(seeds), sizes)), seeds, config)


def clustered(
    quantity: Callable[[Floats], Floats], values: Floats, config: BootstrapConfig | None = None
) -> Interval:
    """`quantity` of means over clusters and runs, resampled by cluster, then by seed and by order.

    Args:
        quantity: from means (..., methods) to one figure (...).
        values: (methods, clusters, seeds, orders), the same clusters and runs for every method.
    """
    config = config or BootstrapConfig()
    generator = np.random.default_rng(config.seed)
    weights = [
        generator.multinomial(count, np.full(count, 1 / count), size=config.resamples) / count
        for count in values.shape[1:]
    ]
    estimate = float(quantity(values.mean(axis=(1, 2, 3))))
    figures = quantity(np.einsum("bd,bs,bo,mdso->bm", *weights, values))
    return _interval(estimate, figures, tuple(range(values.shape[2])), config)


def less(means: Floats) -> Floats:
    """The first method's mean less the second's, for `clustered`."""
    return np.asarray(means[..., 0] - means[..., 1])


def share(means: Floats) -> Floats:
    """The first method's mean as a share of the second's, for `clustered`."""
    return np.asarray(means[..., 0] / np.maximum(means[..., 1], 1e-12))


def _interval(estimate: float, figures: Floats, seeds: tuple[int, ...], config: BootstrapConfig) -> Interval:
    """Of the resamples' `figures` (B,)."""
    tail = 50 * (1 - config.confidence)
    low, high = np.percentile(figures, [tail, 100 - tail])
    same_sign = float(np.mean(np.sign(figures) == np.sign(estimate)))
    return Interval(estimate, float(low), float(high), same_sign, seeds)


def _by_seed(runs: Sequence[MethodRun]) -> dict[int, MethodRun]:
    return {run.seed: run for run in runs}


def _check(runs: Sequence[MethodRun]) -> tuple[int, ...]:
    """Rows per domain, once it is sure that all runs were measured on the same ones."""
    first = runs[0]
    measured = _tokens(first)
    for run in runs:
        if (run.domains, _tokens(run)) != (first.domains, measured):
            raise ConfigError(
                f"{run.method} (seed {run.seed}) and {first.method} (seed {first.seed}) were not measured on "
                "the same holdout rows; run both with the same data, order of domains and sizes"
            )
    return tuple(len(rows) for rows in measured)


def _tokens(run: MethodRun) -> list[list[int]]:
    return [[row.tokens for row in domain.holdout] for domain in run.final]


def _whole(seeds: int, sizes: Sequence[int]) -> _Draws:
    """The one draw that takes everything once: the figure itself."""
    return _Draws(np.arange(seeds)[None], tuple(np.ones((1, size), np.uint16) for size in sizes))


@lru_cache(maxsize=2)  # comparisons of a report have one or all seeds
def _draw(config: BootstrapConfig, seeds: int, sizes: tuple[int, ...]) -> _Draws:
    generator = np.random.default_rng(config.seed)
    return _Draws(
        seeds=generator.integers(seeds, size=(config.resamples, seeds)),
        rows=tuple(
            generator.multinomial(size, np.full(size, 1 / size), size=config.resamples).astype(np.uint16)
            for size in sizes
        ),
    )


def _figures(quantity: Quantity, methods: Sequence[Sequence[MethodRun]], draws: _Draws) -> Floats:
    """(B,): the quantity of the first method in each resample, less that of the second if there is one."""
    figures = [_mean_over_seeds(quantity, runs, draws) for runs in methods]
    return figures[0] if len(figures) == 1 else figures[0] - figures[1]


def _mean_over_seeds(quantity: Quantity, runs: Sequence[MethodRun], draws: _Draws) -> Floats:
    complete = all(stage for run in runs for stage in run.matrix)
    domains = range(len(draws.rows))
    final = [_losses([run.final[j] for run in runs], draws.rows[j]) for j in domains]
    learnt = (
        [_losses([run.matrix[j][j] for run in runs], draws.rows[j]) for j in domains]
        if complete
        else [np.full_like(losses, np.nan) for losses in final]
    )
    by_seed = quantity(np.stack(learnt, axis=-1), np.stack(final, axis=-1))  # (B, S)
    return np.asarray(np.take_along_axis(by_seed, draws.seeds, axis=1).mean(axis=1))


def _losses(scores: Sequence[DomainScores], drawn: NDArray[np.uint16]) -> Floats:
    """(B, S) loss in nats per token of one domain: `scores` one per seed, `drawn` (B, rows)."""
    counts = drawn.astype(np.float64)
    losses = np.array([[row.loss for row in domain.holdout] for domain in scores])
    tokens = np.array([[row.tokens for row in domain.holdout] for domain in scores], dtype=np.float64)
    return np.asarray((counts @ losses.T) / (counts @ tokens.T))
