"""`crma-eval routed`: retention through the router, regret against the right adapter, drift both ways."""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.models.cache import cache_dir
from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_eval.learning.retention.matrix import RoutedDomain, Servers, routed_matrix
from crma_eval.learning.retention.regret import Drift, Regret, confusion, overall, regret
from crma_eval.report import Report, Section
from crma_eval.task import Context, Result
from crma_training.config import TrainConfig
from crma_training.methods.method import Serving

BACKBONE_ALONE = "backbone alone"
_HEADER = (
    "domain",
    "routed right: holdout, short answer",
    "loss, oracle",
    "loss, routed",
    "regret [95 %]",
    "of the loss due to routing",
    "exact match, oracle",
    "exact match, routed",
    "lost / gained by routing",
)


def routed_report(
    release: Release, domains: Sequence[RoutedDomain], drifts: Sequence[Drift | None]
) -> Report:
    """`drifts` in the order of `domains`; None where the rows are not those of the card."""
    figures = [*(regret(domain) for domain in domains), overall(domains)]
    known = [drift for drift in drifts if drift is not None]
    sections = [_drift_section(known, len(domains)), _confusion_section(domains)]
    return Report(
        name="routed",
        title=f"Retention through the router, release {release.number} on {release.base_model}",
        header=_HEADER,
        rows=tuple(_row(figure) for figure in figures),
        figures={
            "release": release.number,
            "base_model": release.base_model,
            "domains": [_json(figure) for figure in figures],
            "drift": [dataclasses.asdict(drift) for drift in known],
            "confusion": {
                domain.domain: {choice or BACKBONE_ALONE: n for choice, n in confusion(domain).items()}
                for domain in domains
            },
        },
        remarks=_words(figures[-1]),
        sections=tuple(sections),
    )


def _row(figure: Regret) -> tuple[str, ...]:
    holdout, short = (f"{right}/{rows}" for right, rows in zip(figure.right, figure.rows, strict=True))
    return (
        figure.domain,
        f"{holdout}, {short}",
        f"{figure.oracle_loss:.3f}",
        f"{figure.routed_loss:.3f}",
        f"{figure.regret:+.4f} [{figure.low:+.4f}, {figure.high:+.4f}]",
        f"{100 * figure.share:+.2f} %",
        _percent(figure.oracle_accuracy),
        _percent(figure.routed_accuracy),
        f"{figure.lost} / {figure.gained}",
    )


def _drift_section(drifts: Sequence[Drift], domains: int) -> Section:
    rows = [
        (d.domain, f"{d.trained_loss:.3f}", f"{100 * d.oracle:+.2f} %", f"{100 * d.routed:+.2f} %")
        for d in drifts
    ]
    if earlier := [drift for drift in drifts if drift.earlier]:
        oracle, routed = (
            100 * sum(getattr(drift, name) for drift in earlier) / len(earlier)
            for name in ("oracle", "routed")
        )
        rows.append(("mean of the earlier domains", "", f"{oracle:+.2f} %", f"{routed:+.2f} %"))
    missing = domains - len(drifts)
    remarks = [
        "Change of an adapter's holdout loss since it was trained, positive is forgetting: with the adapter "
        "answering all of its rows under the release's backbone, and with the router choosing. Forgetting "
        "figures elsewhere are of the first kind, conditional on right routing; the second adds what routing "
        "costs. The adapter trained last has the backbone it was trained on, so its first figure is zero."
    ]
    if missing:
        remarks.append(
            f"{missing} of {domains} domains are left out: their rows here are not all of those (or not the "
            "same) that the loss on their cards was measured on. Give the original data and no `--rows`."
        )
    header = ("domain", "loss when trained", "drift, oracle adapter", "drift, routed") if rows else ()
    return Section("Drift, both ways", header, tuple(rows), tuple(remarks))


def _confusion_section(domains: Sequence[RoutedDomain]) -> Section:
    counts = {domain.domain: confusion(domain) for domain in domains}
    met = {choice for found in counts.values() for choice in found if choice is not None}
    columns: list[str | None] = [*counts, *sorted(met - counts.keys()), None]
    rows = tuple(
        (name, *(str(found[column]) if found[column] else "-" for column in columns))
        for name, found in counts.items()
    )
    header = ("rows of \\ sent to", *(column or BACKBONE_ALONE for column in columns))
    return Section("Where the router sent them", header, rows, ("Holdout and short-answer rows together.",))


def _words(everything: Regret) -> tuple[str, ...]:
    wrong = sum(everything.rows) - sum(everything.right)
    return (
        "*Oracle*: each row answered by its own domain's adapter. *Routed*: by what the release's router "
        f"chose for the row's question, which was another adapter or the backbone alone for {wrong} of "
        f"{sum(everything.rows)} rows. Loss in nats per answer token of the holdout rows; exact match of the "
        "short answers under greedy decoding, token by token. Regret is routed minus oracle loss, its "
        "interval from rows resampled in pairs; *all* pools the rows.",
    )


def _json(figure: Regret) -> dict[str, Any]:
    values = {**dataclasses.asdict(figure), "regret": figure.regret, "share": figure.share}
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f} %"


DESCRIPTION = """\
Every holdout and short-answer row is answered twice: by its own domain's adapter (the oracle), and by what
the release's router chooses for its question. Measurements are kept: after a stop, give the same command
again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as given to crma-train")
    parser.add_argument("--adapters", type=Path, required=True, help="store with a live release")
    parser.add_argument(
        "--rows", type=int, default=0, help="holdout and short-answer rows, each, per domain (default: all)"
    )
    parser.add_argument("--work", type=Path, help="folder to keep measurements in (default: in the cache)")


def run(context: Context) -> Result:
    """Route, measure."""
    args = context.args
    if args.rows < 0:
        raise ConfigError(f"--rows is {args.rows}; give a number of rows, or 0 for all")
    store = Store(args.adapters)
    release = store.live()
    base = resolve_base_model(release.base_model)
    verify_release(store, release, base_fingerprint=base.fingerprint)
    domains = _measured(args, store, release)
    from crma_eval.learning.retention.regret import drift

    drifts = []
    for domain in domains:
        entry = release.adapters[domain.domain]
        card = read_card(store.adapter_dir(domain.domain, entry.part.version))
        drifts.append(drift(domain, card, entry.drift))
    report = routed_report(release, domains, drifts)
    return Result(report)


def _measured(args: argparse.Namespace, store: Store, release: Release) -> list[RoutedDomain]:
    from crma_eval.learning.measure import Measurer
    from crma_eval.learning.retention.matrix import load_asked
    from crma_router.router import Router
    from crma_training.workbench import load_workbench

    if release.router is None:
        raise ConfigError(
            f"{args.adapters}: release {release.number} has no router; train it without --no-router"
        )
    router = Router.load(store.router_dir(release.router.version))
    bench = load_workbench(resolve_base_model(release.base_model), TrainConfig(model=release.base_model))
    asked = load_asked(bench, args.data, tuple(release.adapters), args.rows)
    measurer = Measurer(
        bench, args.work or cache_dir("measured"), say=lambda line: tqdm.write(line, file=sys.stderr)
    )
    with tqdm(desc="routed", unit="row", file=sys.stderr, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return routed_matrix(asked, _servers(store, release), router, measurer.scores, progress)


def _servers(store: Store, release: Release) -> Servers:
    backbone = None if release.backbone is None else store.backbone_dir(release.backbone.version)
    own = {}
    for name, entry in release.adapters.items():
        runs_on = release.backbone_of(entry)
        under = None if runs_on is None else store.backbone_dir(runs_on)
        own[name] = Serving(store.adapter_dir(name, entry.part.version), under)
    return Servers(own, Serving(None, backbone))
