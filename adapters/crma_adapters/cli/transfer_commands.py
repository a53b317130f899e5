"""The commands of `crma-adapters` that copy a store's history: push, pull, mirror."""

import argparse
import sys
import time

from crma_adapters.cli.argument_types import AddCommand, number, positive, store_url
from crma_adapters.cli.listing_text import summary_text
from crma_adapters.errors import ConfigError, CrmaError
from crma_adapters.store.collection import KEEP_RELEASES
from crma_adapters.store.sources.mirror import Mirror
from crma_adapters.store.sources.opening import mirror_of
from crma_adapters.store.sources.remote import RemoteFiles
from crma_adapters.store.sources.remote_store import RemoteStore
from crma_adapters.store.sources.transfer import pull, push
from crma_adapters.store.store import Store

INTERVAL_S = 5.0


def add_transfer(command: AddCommand) -> None:
    """Add the commands that copy between the folder given to `--adapters` and a store behind a URL."""
    pushing = command("push", push_command, "Make this folder's live release live at a URL, its history too.")
    pulling = command("pull", pull_command, "Bring the releases of a URL into this folder.")
    following = command("mirror", mirror_command, "Keep this folder as the URL is, until interrupted.")
    for parser in (pushing, pulling, following):
        parser.add_argument("url", type=store_url, metavar="URL", help="such as s3://bucket/adapters")
        parser.add_argument(
            "--keep",
            type=positive,
            default=KEEP_RELEASES,
            metavar="N",
            help="releases whose parts go along, the live one included (default: %(default)s)",
        )
    following.add_argument(
        "--interval", type=number, default=INTERVAL_S, metavar="S",
        help="seconds between two looks (default: %(default)g)",
    )  # fmt: skip


def push_command(store: Store, arguments: argparse.Namespace) -> int:
    release = push(_folder(store), RemoteFiles(arguments.url), keep=arguments.keep)
    print(f"live at {arguments.url}: {summary_text(release)}")
    return 0


def pull_command(store: Store, arguments: argparse.Namespace) -> int:
    release = pull(_mirror(store, arguments))
    print(f"live in {store.root}: {summary_text(release)}")
    return 0


def mirror_command(store: Store, arguments: argparse.Namespace) -> int:
    """Ends with Ctrl-C; what goes wrong until then is said once, and tried again."""
    mirror, told = _mirror(store, arguments), ""
    while True:
        try:
            if mirror.sync():
                print(f"live in {store.root}: {summary_text(Store(mirror.root).live())}", flush=True)
            told = ""
        except ConfigError:
            raise
        except CrmaError as error:
            if str(error) != told:
                told = str(error)
                print(f"not followed: {told}", file=sys.stderr, flush=True)
        time.sleep(max(arguments.interval, 0.1))


def _mirror(store: Store, arguments: argparse.Namespace) -> Mirror:
    """The folder as a mirror of the URL; whole files are kept beside other stores' in the cache."""
    cached = mirror_of(arguments.url, arguments.store_cache)
    return Mirror(cached.remote, _folder(store).root, cached.blobs, keep=arguments.keep, follows=False)


def _folder(store: Store) -> Store:
    if isinstance(store, RemoteStore):
        raise ConfigError(
            f"--adapters {store.mirror.remote.url}: expected a folder to copy from or to, and the URL after "
            "the command: crma-adapters --adapters DIR push URL"
        )
    return store
