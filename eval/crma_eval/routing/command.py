"""`crma-eval routing`: how well a release's router routes, and whether it knows what is not its own."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_adapters.store.store import Store
from crma_eval.task import Context, Result

DESCRIPTION = """\
Routes held-out questions of every domain, as written, mistyped, cut short, in conversations and misleadingly
introduced, and questions of none: of neighbouring fields, of others, in other languages. Status 1 if a goal
is missed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the router and its questions are."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as given to crma-train")
    add_router_arguments(parser)


def add_router_arguments(parser: argparse.ArgumentParser) -> None:
    """`--adapters` or `--router`; `router_folder` reads them."""
    router = parser.add_mutually_exclusive_group(required=True)
    router.add_argument(
        "--adapters", type=Path, metavar="STORE", help="store whose live release's router is asked"
    )
    router.add_argument("--router", type=Path, metavar="DIR", help="folder of a router by itself")


def router_folder(args: argparse.Namespace) -> Path:
    """The folder of the router that was given. Raises ConfigError if the live release has none."""
    if args.router is not None:
        return Path(args.router)
    store = Store(args.adapters)
    release = store.live()
    if release.router is None:
        raise ConfigError(
            f"{args.adapters}: release {release.number} has no router; fit one, or give --router DIR"
        )
    return store.router_dir(release.router.version)


def check_domains(asked: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raises ConfigError where questions are of a domain that the router does not know."""
    if unknown := sorted(set(asked) - set(known)):
        raise ConfigError(
            f"{where} has questions of {', '.join(unknown)}, the router knows {', '.join(known)}; "
            "give the data of the router's domains"
        )


def run(context: Context) -> Result:
    """Route every set."""
    from crma_eval.routing.embeddings import kept
    from crma_eval.routing.judged import judge
    from crma_eval.routing.sets.held_out import load_sets
    from crma_eval.routing.summary import routing_result
    from crma_router.classifier.artifact import load_model
    from crma_router.router import Router

    folder = router_folder(context.args)
    router = Router.load(folder, kept(load_model(folder).embedder))
    sets = load_sets(context.args.data)
    asked = {label for one in sets if one.inside for label in one.labels}
    check_domains(asked, router.domains, str(context.args.data))
    return routing_result(judge(router, sets), "Routing: how well, and whether it knows what is not its own")
