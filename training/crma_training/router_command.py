"""`crma-train router`: the router alone, fitted again on the data; language model and adapters stay as
they are."""

import argparse
import tempfile
from pathlib import Path

from crma_adapters.cli.argument_types import location
from crma_adapters.cli.command import run_command
from crma_adapters.errors import ConfigError
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import Release
from crma_adapters.store.sources.opening import open_store
from crma_adapters.store.store import Store
from crma_router.encoders.base import DEFAULT_EMBEDDER, MINILM_NAME, USE_NAME
from crma_training.data.dataset import load_dataset
from crma_training.routing import fit_release_router

DESCRIPTION = """\
Fits the router again on a dataset folder's questions (those that crma-train gives it) and publishes a
release whose backbone and adapters are the live one's. Without the data: crma-route calibrate --accept.
"""


def main(argv: list[str]) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="crma-train router", description=DESCRIPTION, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--adapters", type=location, required=True, help="store whose live release gets it")
    parser.add_argument("--seed", type=int, default=0, help="of the prototypes and variants (default: 0)")
    parser.add_argument(
        "--keep-examples", action=argparse.BooleanOptionalAction, default=True,
        help="keep the questions beside it, so that crma-route can change it (default: yes)",
    )  # fmt: skip
    parser.add_argument(
        "--embedder", default=DEFAULT_EMBEDDER, metavar="NAME",
        help=f"{USE_NAME}, {MINILM_NAME}, a sentence-transformers folder or hub id, or two joined by ' + ' "
        f"(default: {DEFAULT_EMBEDDER})",
    )  # fmt: skip
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    release = fit_again(
        args.data,
        open_store(args.adapters),
        args.seed,
        keep_examples=args.keep_examples,
        embedder=args.embedder,
    )
    assert release.router is not None
    print(f"release {release.number} is live in {args.adapters}, with router {release.router.version}")
    return 0


def fit_again(data: Path, store: Store, seed: int, *, keep_examples: bool, embedder: str) -> Release:
    """Publish the live release with a router fitted on the adapters' domains of the folder `data`.

    Raises:
        ConfigError: an adapter has no questions there.
        RouterError: too few questions. As `load_dataset` and `publish_parts` besides.
    """
    adapters, dataset = store.live().adapters, load_dataset(data)
    domains = [domain for domain in dataset.domains if domain.name in adapters]
    if missing := sorted(set(adapters) - {domain.name for domain in domains}):
        raise ConfigError(
            f"{data} has no questions of {', '.join(missing)}, which the live release answers; "
            "give the data of all its adapters"
        )
    with tempfile.TemporaryDirectory(prefix="crma-router-") as folder:
        fit_release_router(
            domains, dataset.out_of_domain, seed, Path(folder), keep_examples=keep_examples, embedder=embedder
        )
        return publish_parts(store, Publication(router=Path(folder), note="crma-train router"))
