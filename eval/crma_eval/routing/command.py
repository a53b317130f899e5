"""`crma-eval routing`: how well a release's router routes, and whether it knows what is not its own."""

import argparse
from pathlib import Path
from typing import Any

from crma_adapters.errors import ConfigError
from crma_adapters.store.store import Store

DESCRIPTION = """\
Routes held-out questions of every domain, as written, mistyped, cut short, in conversations and misleadingly
introduced, and questions of none: of neighbouring fields, of others, in other languages. Status 1 if a goal
is missed.
"""


def add_command(commands: Any) -> None:
    """Add `routing` to the subcommands of `crma-eval`."""
    parser = commands.add_parser(
        "routing",
        help="how well the router routes, and whether it knows what is not its own",
        description=DESCRIPTION,
    )
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as given to crma-train")
    router = parser.add_mutually_exclusive_group(required=True)
    router.add_argument(
        "--adapters", type=Path, metavar="STORE", help="store whose live release's router is judged"
    )
    router.add_argument("--router", type=Path, metavar="DIR", help="folder of a router by itself")
    parser.add_argument("--report", type=Path, help="folder to write the report into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Route, measure, print, write."""
    from crma_eval.routing.embeddings import kept
    from crma_eval.routing.judged import judge
    from crma_eval.routing.sets import load_sets
    from crma_eval.routing.summary import routing_report
    from crma_router.classifier.artifact import load_model
    from crma_router.router import Router

    folder = args.router or _live_router(args.adapters)
    router = Router.load(folder, kept(load_model(folder).embedder))
    sets = load_sets(args.data)
    domains = {label for one in sets if one.inside for label in one.labels}
    if unknown := sorted(domains - set(router.domains)):
        raise ConfigError(
            f"{args.data} has questions of {', '.join(unknown)}, "
            f"the router knows {', '.join(router.domains)}; "
            "give the data of the router's domains"
        )
    report = routing_report(
        judge(router, sets), "Routing: how well, and whether it knows what is not its own"
    )
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0 if report.figures["goals_met"] else 1


def _live_router(adapters: Path) -> Path:
    store = Store(adapters)
    release = store.live()
    if release.router is None:
        raise ConfigError(
            f"{adapters}: release {release.number} has no router; fit one, or give --router DIR"
        )
    return store.router_dir(release.router.version)
