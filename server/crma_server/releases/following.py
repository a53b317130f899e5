"""A store behind a URL, for as long as the server runs: its mirror is kept as the source is, source away or
not; the rest of the server reads the mirror as it reads any folder."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from crma_adapters.errors import CrmaError, StoreAwayError
from crma_adapters.store.ledger import POINTER_FILE
from crma_adapters.store.sources.location import Location
from crma_adapters.store.sources.mirror import Mirror
from crma_adapters.store.sources.opening import mirror_of
from crma_adapters.store.sources.remote_store import RemoteStore
from crma_adapters.store.store import Store
from crma_server.progress import report


def open_served(location: Location, cache: Path | None = None, *, keep: int = 1) -> Store:
    """The store to serve, with `keep` releases fetched if it is behind a URL.

    A source that is away leaves what was fetched before, if anything was. Raises as `Mirror.sync`.
    """
    if isinstance(location, Path):
        return Store(location)
    mirror = mirror_of(location, cache, keep=keep)
    report(f"fetching {location} into {mirror.root}")
    try:
        mirror.sync()
    except StoreAwayError as error:
        if not (mirror.root / POINTER_FILE).exists():
            raise
        report(f"{error}; serving what was fetched before")
    return RemoteStore(mirror)


async def follow_source(mirror: Mirror, poll_s: float, count_refused: Callable[[str], None]) -> None:
    """Have the mirror follow its source every `poll_s` seconds; what is not taken is said and counted once.

    `count_refused` gets the kind of error of a release that was not taken.
    """
    told = ""
    try:
        while True:
            await asyncio.sleep(poll_s)
            told = await _look(mirror, told, count_refused)
    finally:
        mirror.close()


async def _look(mirror: Mirror, told: str, count_refused: Callable[[str], None]) -> str:
    """Sync once; what went wrong, empty if nothing did."""
    try:
        await asyncio.to_thread(mirror.sync)
    except CrmaError as error:
        reason = str(error)
        if reason != told:
            report(f"{reason}; what is live stays")
            if not isinstance(error, StoreAwayError):
                count_refused(type(error).__name__)
        return reason
    if told:
        report(f"{mirror.remote.url} is followed again")
    return ""
