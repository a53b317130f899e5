"""`crma-eval routed`: what a release keeps when its own router chooses who answers."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.models.cache import cache_dir
from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_eval.learning.retention.matrix import RoutedDomain, Servers, routed_matrix
from crma_eval.task import Context, Result
from crma_training.config import TrainConfig
from crma_training.methods.method import Serving

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
    from crma_eval.learning.retention.summary import routed_report

    drifts = []
    for domain in domains:
        entry = release.adapters[domain.domain]
        card = read_card(store.adapter_dir(domain.domain, entry.part.version))
        drifts.append(drift(domain, card, entry.drift))
    report = routed_report(release, domains, drifts)
    return Result(report)


def _measured(args: argparse.Namespace, store: Store, release: Release) -> list[RoutedDomain]:
    from crma_eval.learning.measure import Measurer
    from crma_eval.learning.retention.questions import load_asked
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
    own = {
        name: Serving(store.adapter_dir(name, entry.part.version), backbone)
        for name, entry in release.adapters.items()
    }
    return Servers(own, Serving(None, backbone))
