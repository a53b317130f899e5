"""What the figures show and do not show, in sentences made from them: the same words whichever way
they fall.
"""

from collections.abc import Mapping

from crma_eval.learning.bootstrap import Interval
from crma_eval.learning.comparison import Comparison
from crma_eval.learning.results import FROZEN, MODULAR, NAIVE, MethodResults
from crma_eval.learning.spread import Spread

FROZEN_NOTE = (
    "FROZEN's drift is 0 by construction (FROZEN-matched's too): once a domain is learnt, neither its "
    "adapter nor the base model under it changes. That it does not forget is no result; the fair comparison "
    "of MODULAR with FROZEN is how well each domain is learnt (learning advantage) and the final loss."
)


def verdicts(
    results: Mapping[str, MethodResults],
    comparisons: Mapping[str, Comparison],
    own: Mapping[str, Interval],
) -> tuple[str, ...]:
    """The sentences below the main table, as far as the methods they speak of were run."""
    found = []
    naive, modular = (results[name].drift if name in results else None for name in (NAIVE, MODULAR))
    if naive and modular:
        found.append(against_naive(naive, modular, comparisons[NAIVE]))
    if MODULAR in own:
        found.append(modular_drift(own[MODULAR]))
    if FROZEN in results:
        found.append(FROZEN_NOTE + _frozen_check(results[FROZEN]))
    if FROZEN in comparisons:
        found += [
            text
            for text in (
                against_frozen("learns the domains", comparisons[FROZEN].learnt),
                against_frozen("ends", comparisons[FROZEN].final),
            )
            if text
        ]
    return tuple(found)


def against_naive(naive: Spread, modular: Spread, comparison: Comparison) -> str:
    """Whether NAIVE drifts more than MODULAR: only disjoint ranges and an interval off 0 together say so."""
    means = f"NAIVE drifts {_percent(naive.mean)}, MODULAR {_percent(modular.mean)}"
    ranges = f"(NAIVE {_range(naive)}; MODULAR {_range(modular)})"
    interval = comparison.drift
    if comparison.disjoint is None or interval is None:
        return (
            f"{means}, but one of them has a single seed: there is no range to compare, so this run is no "
            "evidence either way. Run both with several seeds."
        )
    difference = f"the difference is {_points(interval)} (paired bootstrap, 95 % interval)"
    if not comparison.disjoint:
        return (
            f"**Not shown: that MODULAR drifts less than NAIVE.** {means}; the per-seed ranges overlap "
            f"{ranges}; {difference}."
        )
    if not interval.excludes_zero:
        return (
            f"**Not settled.** {means}; the per-seed ranges are disjoint {ranges}, but {difference}, which "
            "includes 0: it could be the choice of rows or seeds."
        )
    if naive.mean < modular.mean:
        return (
            f"**The contrary of the claim: MODULAR drifts more than NAIVE here.** {means}; the per-seed "
            f"ranges are disjoint {ranges}; {difference}."
        )
    return (
        f"**MODULAR drifts less than NAIVE here.** {means}; the per-seed ranges are disjoint {ranges}; "
        f"{difference}. This holds for these domains in this order, this base model and these sizes."
    )


def modular_drift(own: Interval) -> str:
    """Whether MODULAR itself forgets."""
    figure = f"{_percent(own.estimate)}, 95 % interval {_percent(own.low)} to {_percent(own.high)}"
    if own.low > 0:
        return f"MODULAR does forget: its own drift is {figure}, which excludes 0."
    if own.high < 0:
        return f"MODULAR's earlier domains got better as later ones were learnt: its own drift is {figure}."
    return f"MODULAR's own drift is {figure}: not distinguishable from 0, which does not prove that it is 0."


def against_frozen(what: str, interval: Interval | None) -> str | None:
    """Whether MODULAR's loss is lower than FROZEN's; `interval` is FROZEN's less MODULAR's."""
    if interval is None:
        return None
    low, high = interval.low, interval.high
    figure = (
        f"(FROZEN's mean loss less MODULAR's: {interval.estimate:+z.4f} nats per token, "
        f"95 % interval {low:+z.4f} to {high:+z.4f}{_seeds(interval)})"
    )
    if not interval.excludes_zero:
        return f"It is not shown that MODULAR {what} at another loss than FROZEN {figure}."
    return f"MODULAR {what} at a {'lower' if low > 0 else 'higher'} loss than FROZEN {figure}."


def _frozen_check(frozen: MethodResults) -> str:
    if frozen.drift is None or max(map(abs, frozen.drift.values)) < 1e-6:
        return ""
    return f" Yet {_percent(frozen.drift.mean, 6)} was measured here: a fault of this run, find it first."


def _percent(ratio: float, digits: int = 2) -> str:
    return f"{100 * ratio:+z.{digits}f} %"


def _range(values: Spread) -> str:
    return f"{_percent(values.low)} to {_percent(values.high)}"


def _points(interval: Interval) -> str:
    return (
        f"{100 * interval.estimate:+z.2f} points, {100 * interval.low:+z.2f} to {100 * interval.high:+z.2f}"
    )


def _seeds(interval: Interval) -> str:
    return ", one seed: rows only" if len(interval.seeds) == 1 else ""
