"""`crma-eval routing-peers`: this project's router beside others."""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from crma_eval.routing.command import add_router_arguments, router_folder
from crma_eval.task import Context, Result

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
    from crma_eval.routing.peers.kept import kept
    from crma_eval.routing.peers.measure import measure_peer
    from crma_eval.routing.peers.ours import measure_ours
    from crma_eval.routing.peers.split import load_split
    from crma_eval.routing.peers.summary import peers_report

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
    from crma_eval.routing.peers.encoders import encoders
    from crma_eval.routing.peers.libraries import SemanticRouterPeer, SetFitPeer, installed
    from crma_eval.routing.peers.peers import DescriptionPeer, LogisticPeer, NeighbourPeer

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
