"""The report's tables: figures as text, one function per table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crma_eval.learning.bootstrap import BootstrapConfig, Floats, Interval, clustered, less, share
from crma_eval.learning.comparison import Comparison
from crma_eval.learning.results import FROZEN, MAIN, MODULAR, NAIVE, MethodResults, label
from crma_eval.learning.spread import Spread, spread
from crma_eval.report import Section

NOTHING = "–"
ONE_SEED = " †"
ONE_SEED_NOTE = "† one seed: no deviation and no range, a hint and not a finding."

Rows = tuple[tuple[str, ...], ...]


def drift_table(results: Mapping[str, MethodResults]) -> tuple[tuple[str, ...], Rows]:
    """Header and rows: one domain each, a column of drift for each of the main methods."""
    main = [results[method] for method in MAIN if method in results] or list(results.values())
    domains = main[0].runs[0].domains
    header = ("domain", *(f"{label(found.method)} drift, %" for found in main))
    rows = [
        (
            f"{domain} (last)" if index == len(domains) - 1 else domain,
            *(_percent(found.domain_drift(index)) for found in main),
        )
        for index, domain in enumerate(domains)
    ]
    mean = ("**mean of the earlier domains**", *(f"**{_percent(found.drift)}**" for found in main))
    return header, (*rows, mean)


def ranges_section(
    results: Mapping[str, MethodResults],
    comparisons: Mapping[str, Comparison],
    own: Mapping[str, Interval],
) -> Section:
    """Each seed's drift, the range, and whether it meets MODULAR's."""
    seeds = sorted({seed for found in results.values() for seed in found.seeds})
    drifting = [found for found in results.values() if found.drift is not None]
    rows = tuple(
        (
            label(found.method),
            *_per_seed(found, seeds),
            _range(found.drift),
            _meets(found, comparisons),
            _interval(own.get(found.method), 100, 2),
        )
        for found in drifting
    )
    return Section(
        "Drift seed by seed, %",
        ("method", *(f"seed {seed}" for seed in seeds), "range", "range and MODULAR's", "bootstrap 95 %"),
        rows,
    )


def methods_section(results: Mapping[str, MethodResults], parameters: Mapping[str, int]) -> Section:
    """Every method's figures."""
    header: tuple[str, ...] = (
        "method",
        "seeds",
        "drift, %",
        "final loss, nats/token",
        "AP, %",
        "BWT, points",
        "forgetting, points",
        "FWT, points",
        "learning advantage over FROZEN, nats/token",
        "the same, %",
    )
    rows: list[tuple[str, ...]] = [_method_row(found) for found in results.values()]
    if parameters:
        header = (*header, "parameters per query")
        counts = [parameters.get(method) for method in results]
        rows = [(*row, NOTHING if n is None else f"{n:,}") for row, n in zip(rows, counts, strict=True)]
    remarks = (
        "Mean ± standard deviation over seeds. AP: mean accuracy (exact match) over domains after the last "
        "one; BWT: its change since each domain was learnt, negative is forgetting (Lopez-Paz & Ranzato "
        "2017); forgetting: the best accuracy since then less the last, positive is forgetting (Chaudhry et "
        "al. 2018); FWT: accuracy just before a domain is learnt less the base model's. Learning advantage: "
        "FROZEN's loss when a domain is learnt less the method's, paired by seed, positive is better than "
        "FROZEN.",
    )
    return Section("Every method", header, tuple(rows), remarks)


def training_section(cells: Sequence[Mapping[str, Any]]) -> Section:
    """What training each method took, from `journal.cell_figures`."""
    rows = []
    for method in dict.fromkeys(figures["method"] for figures in cells):
        own = [figures for figures in cells if figures["method"] == method]
        speeds = [figures["training_tokens_per_s"] for figures in own]
        rates = sorted({(figures["learning_rate"], figures["crma_learning_rate"]) for figures in own})
        rows.append(
            (
                label(method),
                ", ".join(f"{lora:g} / {crma:g}" for lora, crma in rates),
                str(max(figures["steps"] for figures in own) or NOTHING),
                cell(spread(speeds), 1, 0),
            )
        )
    commits = ", ".join(sorted({figures["commit"] for figures in cells}))
    remarks = (
        "Tokens per second of training, prompts included; runs on a machine that does other work meanwhile "
        f"compare only roughly. The runs were made at commit {commits}.",
    )
    header = ("method", "learning rate: LoRA / CRMA", "steps, all domains", "training tokens/s")
    return Section("Training", header, tuple(rows), remarks)


ONE_MODEL = (NAIVE, "replay-", "ewc", "o-lora", "inflora", "merge-", "consolidated", "joint")


def unrouted_section(
    results: Mapping[str, MethodResults], cells: Sequence[Mapping[str, Any]], config: BootstrapConfig
) -> tuple[Section, ...]:
    """Methods that answer all domains with one model, beside the oracle that FROZEN's adapters are; none
    without short answers or FROZEN.
    """
    oracle, best = results.get(FROZEN), results.get("consolidated")
    one = [found for name, found in results.items() if name.startswith(ONE_MODEL)]
    if oracle is None or not one or any(found.statistics[0].average_accuracy is None for found in one):
        return ()
    rises = {(figures["method"], figures["seed"]): figures.get("generic_rise") for figures in cells}
    rows = []
    for found in one:
        rise = spread(rises.get((found.method, seed)) for seed in found.seeds)
        ahead = None if best is None or best is found else _accuracy(best, found, less, config)
        part = _accuracy(found, oracle, share, config)
        rows.append(
            (
                label(found.method),
                cell(found.over_seeds(lambda s: s.average_accuracy), 100, 1),
                NOTHING
                if part is None
                else f"{100 * part.estimate:.0f} [{100 * part.low:.0f}, {100 * part.high:.0f}]",
                NOTHING if ahead is None else _interval(ahead, 100, 1, sign=True),
                cell(rise, 100, 1, signed=True),
            )
        )
    header = (
        "method",
        "AP, %",
        "share of FROZEN's AP, %",
        "consolidated − method, points",
        "loss on generic prompts, change %",
    )
    remarks = (
        "One model, no router, no adapter chosen; FROZEN answers each domain with its own adapter. Exact "
        "match after the last domain; intervals resample domains, then seeds. Generic prompts: the change of "
        "the loss of the base model's own answers to small talk and questions of no domain, none of which "
        "any method was anchored on.",
    )
    return (Section("Without router or adapter", header, tuple(rows), remarks),)


def _accuracy(
    first: MethodResults,
    second: MethodResults,
    quantity: Callable[[Floats], Floats],
    config: BootstrapConfig,
) -> Interval | None:
    """Of the final accuracies of two methods on the seeds that both have."""
    seeds = sorted(set(first.seeds) & set(second.seeds))
    if not seeds:
        return None
    runs = [[run for run in found.runs if run.seed in seeds] for found in (first, second)]
    domains = range(len(first.runs[0].domains))
    tables = [[[[run.final[j].accuracy] for run in own] for j in domains] for own in runs]
    return clustered(quantity, np.array(tables), config)


def bootstrap_section(comparisons: Mapping[str, Comparison], resamples: int) -> Section:
    """Each method less MODULAR."""
    rows = tuple(
        (
            f"{label(found.method)} − {label(MODULAR)}",
            str(len(found.seeds)) + (ONE_SEED if len(found.seeds) == 1 else ""),
            _interval(found.drift, 100, 2, sign=True),
            _interval(found.learnt, 1, 4, sign=True),
            _interval(found.final, 1, 4, sign=True),
        )
        for found in comparisons.values()
    )
    header = (
        "difference",
        "seeds",
        "drift, points",
        "loss when learnt, nats/token",
        "final loss, nats/token",
    )
    remarks = (
        "Difference [95 % interval] (share of resamples of the same sign); positive is in MODULAR's favour. "
        f"Percentiles of {resamples:,} resamples of seeds, then of each domain's holdout rows, the same draw "
        "for both methods. Three seeds can be drawn in ten ways only, so the intervals tell the chance of "
        "the rows well and that of the seeds roughly. They are not corrected for the number of comparisons. "
        "† one seed in common: rows only.",
    )
    return Section("Paired bootstrap against MODULAR", header, rows, remarks)


def _method_row(found: MethodResults) -> tuple[str, ...]:
    return (
        label(found.method),
        str(len(found.seeds)),
        _percent(found.drift),
        cell(found.over_seeds(lambda s: s.final_loss), 1, 4),
        cell(found.over_seeds(lambda s: s.average_accuracy), 100, 1),
        cell(found.over_seeds(lambda s: s.backward_transfer), 100, 1, signed=True),
        cell(found.over_seeds(lambda s: s.forgetting), 100, 1, signed=True),
        cell(found.over_seeds(lambda s: s.forward_transfer), 100, 1, signed=True),
        cell(found.advantage(lambda a: a.nats), 1, 4, signed=True),
        cell(found.advantage(lambda a: a.relative), 100, 2, signed=True),
    )


def _percent(drift: Spread | None) -> str:
    return cell(drift, 100, 2, signed=True)


def cell(values: Spread | None, scale: float, digits: int, signed: bool = False) -> str:
    if values is None:
        return NOTHING
    return values.text(digits=digits, scale=scale, signed=signed) + (
        ONE_SEED if values.deviation is None else ""
    )


def _per_seed(found: MethodResults, seeds: Sequence[int]) -> list[str]:
    drifts = {s.seed: s.drift for s in found.statistics}
    values = [drifts.get(seed) for seed in seeds]
    return [NOTHING if drift is None else f"{100 * drift.mean:+z.2f}" for drift in values]


def _range(drift: Spread | None) -> str:
    if drift is None or drift.deviation is None:
        return NOTHING
    return f"{100 * drift.low:+z.2f} to {100 * drift.high:+z.2f}"


def _meets(found: MethodResults, comparisons: Mapping[str, Comparison]) -> str:
    comparison = comparisons.get(found.method)
    if comparison is None or comparison.disjoint is None or comparison.drift is None:
        return NOTHING
    if not comparison.disjoint:
        return "overlap"
    return "disjoint, higher" if comparison.drift.estimate > 0 else "disjoint, lower"


def _interval(found: Interval | None, scale: float, digits: int, sign: bool = False) -> str:
    if found is None:
        return NOTHING
    low, high = (f"{scale * value:+z.{digits}f}" for value in (found.low, found.high))
    if not sign:
        return f"{low} to {high}"
    return f"{scale * found.estimate:+z.{digits}f} [{low}, {high}] ({100 * found.same_sign:.0f} %)"
