"""The forgetting report: tables, verdict, plots and every figure behind them, from the runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from crma_eval.learning.bootstrap import BootstrapConfig, Interval
from crma_eval.learning.comparison import Comparison, compare, own_drift
from crma_eval.learning.plots import plots_section
from crma_eval.learning.results import MethodResults, collect
from crma_eval.learning.scores import DomainScores, MethodRun
from crma_eval.learning.statistics import RunStatistics
from crma_eval.learning.table import (
    ONE_SEED_NOTE,
    bootstrap_section,
    drift_table,
    methods_section,
    ranges_section,
    training_section,
    unrouted_section,
)
from crma_eval.learning.verdict import verdicts
from crma_eval.report import Report, Section

NAME = "forgetting"
ORACLE_NOTE = (
    "Methods with an adapter per domain are told each row's domain; methods with one model for all are not. "
    "With a router choosing, its mistakes come on top."
)


def write_report(
    runs: Sequence[MethodRun],
    figures: Mapping[str, Any],
    folder: Path | None,
    more: Sequence[Section] = (),
) -> None:
    """Print the report, `more` behind its tables; with `folder`, write `forgetting.json`, `forgetting.md` and
    the plots there.
    """
    report = forgetting_report(runs, figures)
    *tables, plots = report.sections
    report = replace(report, sections=(*tables, *more, plots))
    print(report.markdown())
    if folder is not None:
        report.write(folder)


def forgetting_report(
    runs: Sequence[MethodRun], figures: Mapping[str, Any], config: BootstrapConfig | None = None
) -> Report:
    """The report; its `write` draws the plots too.

    Args:
        figures: kept in the JSON as `protocol`. Four keys are read: `rows` per domain; `cells`, what training
            each took; `trainable_parameters`, a count by method; and `split`, where "validation" says that
            the figures are not from the holdout.

    Raises:
        ConfigError: the runs do not belong together.
    """
    config = config or BootstrapConfig()
    results = collect(runs)
    comparisons, own = compare(results, config), own_drift(results, config)
    sentences = verdicts(results, comparisons, own)
    header, rows = drift_table(results)
    sections = [
        ranges_section(results, comparisons, own),
        methods_section(results, figures.get("trainable_parameters", {})),
        *([training_section(figures["cells"])] if figures.get("cells") else []),
        *unrouted_section(results, figures.get("cells", ()), config),
        *([bootstrap_section(comparisons, config.resamples)] if comparisons else []),
        plots_section(results),
    ]
    return Report(
        name=NAME,
        title=_title(runs[0].domains, figures.get("rows", {})),
        header=header,
        rows=rows,
        figures=_figures(results, comparisons, own, sentences, config) | {"protocol": dict(figures)},
        remarks=(*_reading(results, figures), *sentences),
        sections=tuple(sections),
    )


def _title(domains: Sequence[str], rows: Mapping[str, int]) -> str:
    each = f", {rows['train']} training rows each" if rows else ""
    return f"Forgetting over {len(domains)} domains{each}: {', '.join(domains)}"


def _reading(results: Mapping[str, MethodResults], figures: Mapping[str, Any]) -> tuple[str, ...]:
    seeds = {len(found.seeds) for found in results.values()}
    drift = (
        "Drift: relative change of a domain's holdout loss from when it was learnt to after the last domain; "
        "positive is forgetting. Mean ± standard deviation over seeds."
    )
    notes = [f"{drift} {ONE_SEED_NOTE}" if 1 in seeds else drift, ORACLE_NOTE]
    if figures.get("split") == "validation":
        notes.append("**Measured on validation rows, for tuning: not the figures to quote.**")
    return tuple(notes)


def _figures(
    results: Mapping[str, MethodResults],
    comparisons: Mapping[str, Comparison],
    own: Mapping[str, Interval],
    sentences: tuple[str, ...],
    config: BootstrapConfig,
) -> dict[str, Any]:
    first = next(iter(results.values()))
    return {
        "domains": first.runs[0].domains,
        "verdicts": sentences,
        "methods": {name: _method(found) for name, found in results.items()},
        "bootstrap": asdict(config)
        | {
            "own_drift": {name: asdict(interval) for name, interval in own.items()},
            "differences": {name: comparison.figures() for name, comparison in comparisons.items()},
        },
    }


def _method(found: MethodResults) -> dict[str, Any]:
    over_seeds = {
        "drift": found.drift,
        "learnt_loss": found.over_seeds(lambda s: s.learnt_loss),
        "final_loss": found.over_seeds(lambda s: s.final_loss),
        "average_accuracy": found.over_seeds(lambda s: s.average_accuracy),
        "backward_transfer": found.over_seeds(lambda s: s.backward_transfer),
        "forgetting": found.over_seeds(lambda s: s.forgetting),
        "forward_transfer": found.over_seeds(lambda s: s.forward_transfer),
        "forward_transfer_loss": found.over_seeds(lambda s: s.forward_transfer_loss),
        "learning_advantage_nats": found.advantage(lambda a: a.nats),
        "learning_advantage_relative": found.advantage(lambda a: a.relative),
    }
    runs = [_run(run, figures) for run, figures in zip(found.runs, found.statistics, strict=True)]
    spreads = {name: None if values is None else values.figures() for name, values in over_seeds.items()}
    return {"seeds": found.seeds, **spreads, "runs": runs}


def _run(run: MethodRun, figures: RunStatistics) -> dict[str, Any]:
    kept = {key: value for key, value in asdict(figures).items() if key != "method"}
    return kept | {
        "base": _domains(run.base),
        "matrix": [_domains(stage) for stage in run.matrix],
    }


def _domains(scores: Sequence[DomainScores]) -> dict[str, list[float | None]]:
    """Losses and accuracies by domain, empty for a missing stage; a NaN is no JSON."""
    return {
        "loss": [domain.loss for domain in scores],
        "accuracy": [None if math.isnan(domain.accuracy) else domain.accuracy for domain in scores],
    }
