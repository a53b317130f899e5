"""`crma-eval routing-peers`: this project's router beside others, on the same questions."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from crma_eval.report import Report, Section
from crma_eval.routing.command import add_router_arguments, router_folder
from crma_eval.routing.peers.measure import Measured
from crma_eval.task import Context, Result

_WORDS = (
    "All were fitted on the same training questions and asked the same held-out ones, one text a "
    "conversation. A peer's options and threshold were chosen on a fifth of the training questions, left out "
    "of its first fit; ours keeps the threshold that its own fit gave. *Accuracy*: of the leading domain. "
    "*Coverage at 2 % wrong*: the share of the domains' questions sent right at the best threshold with at "
    "most 2 % of what is sent wrong, questions of none among it. *AUROC*: the score of domains' questions "
    "over that of none. *Sent*, *wrong*, *left alone*: at its own threshold. Fit: beyond encoding, which "
    "peers share. Times: one text, one thread."
)


def peers_report(measured: Sequence[Measured], missing: Sequence[str]) -> Report:
    """Ours first. `missing`: what was left out, and why."""
    sets = list(measured[0].sets)
    return Report(
        name="routing-peers",
        title="Routers beside this project's, same questions",
        header=("router", "fit, s", "p50, ms", "p99, ms", "options"),
        rows=tuple(_row(one) for one in measured),
        figures={"routers": [asdict(one) for one in measured], "left_out": list(missing)},
        remarks=(_WORDS, *(f"Left out: {one}." for one in missing)),
        sections=tuple(_set(name, measured) for name in sets),
    )


def _row(one: Measured) -> tuple[str, ...]:
    fit = "as released" if one.fit_s is None else f"{one.fit_s:.1f}"
    return one.name, fit, f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", _option(one)


def _option(one: Measured) -> str:
    return ", ".join(f"{name} {value}" for name, value in one.option.items())


def _set(name: str, measured: Sequence[Measured]) -> Section:
    header = ("router", "accuracy", "coverage at 2 % wrong", "AUROC", "sent", "wrong", "left alone")
    rows = tuple(
        (
            one.name,
            *(
                f"{share:.3f}"
                for share in (
                    one.sets[name].accuracy,
                    one.sets[name].coverage,
                    one.sets[name].auroc,
                    one.sets[name].sent,
                    one.sets[name].wrong,
                    one.sets[name].left,
                )
            ),
        )
        for one in measured
    )
    return Section(name.capitalize(), header, rows)


if TYPE_CHECKING:
    from crma_eval.routing.peers.peers import Peer

DESCRIPTION = """\
Fits semantic-router, SetFit, nearest neighbours, descriptions by zero-shot and plain logistic regression,
each on the packaged encoders, on the training questions of a dataset folder, and asks them and the release's
router the same held-out and fresh questions. Libraries that are not installed are left out, and named.
It tells, and has no goal.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the questions and the release's router are."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as given to crma-train")
    add_router_arguments(parser)
    parser.add_argument(
        "--work", type=Path, help="what was measured before is kept here (default: the cache)"
    )


def run(context: Context) -> Result:
    """Fit and ask."""
    from tqdm import tqdm

    from crma_adapters.models.cache import cache_dir
    from crma_eval.routing.peers.measure import kept, load_split, measure_ours, measure_peer

    split = load_split(context.args.data)
    missing: list[str] = []
    measured = [measure_ours(router_folder(context.args), split)]
    work = context.args.work or cache_dir("routing-peers")
    for make in tqdm(list(_peers(missing)), desc="peers", unit="peer"):
        peer = make()
        measured.append(kept(work, peer.name, split.digest, partial(measure_peer, peer, split)))
    return Result(peers_report(measured, missing))


def _peers(missing: list[str]) -> Iterator[Callable[[], "Peer"]]:
    from crma_adapters.models.packaged import embedder_path
    from crma_eval.routing.peers.peers import (
        DescriptionPeer,
        LogisticPeer,
        NeighbourPeer,
        SemanticRouterPeer,
        SetFitPeer,
        encoders,
        installed,
    )

    for name, encoder in encoders().items():
        kinds: list[Callable[..., Peer]] = [LogisticPeer, NeighbourPeer, DescriptionPeer]
        if installed(SemanticRouterPeer.package):
            kinds.append(SemanticRouterPeer)
        yield from (partial(kind, name, encoder) for kind in kinds)
    if not installed(SemanticRouterPeer.package):
        missing.append("semantic-router (pip install semantic-router)")
    if installed(SetFitPeer.package):
        yield partial(SetFitPeer, "MiniLM", str(embedder_path()))
    else:
        missing.append("SetFit (pip install setfit)")
