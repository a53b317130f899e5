"""A store by what was given to `--adapters`, and where its mirror lies if it is elsewhere."""

import hashlib
import re
from pathlib import Path

from crma_adapters.io import durable
from crma_adapters.models.cache import cache_dir
from crma_adapters.store.ledger import POINTER_FILE
from crma_adapters.store.sources.blobs import BlobCache
from crma_adapters.store.sources.location import Location, StoreUrl, parse_location
from crma_adapters.store.sources.mirror import Mirror
from crma_adapters.store.sources.remote import RemoteFiles
from crma_adapters.store.sources.remote_store import RemoteStore
from crma_adapters.store.store import Store


def mirror_of(url: StoreUrl, cache: Path | None = None, *, keep: int = 1) -> Mirror:
    """The mirror of a store elsewhere, below `cache` (default: `stores` in the cache folder); nothing is
    fetched yet."""
    folder = cache or cache_dir("stores")
    name = re.sub(r"[^a-zA-Z0-9.-]+", "-", url.text.partition("://")[2]).strip("-.")[-40:]
    digest = hashlib.sha256(url.text.encode()).hexdigest()[:12]
    return Mirror(RemoteFiles(url), folder / f"{name}-{digest}", BlobCache(folder / "blobs"), keep=keep)


def open_store(location: Location | str, cache: Path | None = None) -> Store:
    """The store there: a folder's as it is, another with its live release fetched, if it has one.

    Raises as `parse_location` and `Mirror.sync`.
    """
    where = parse_location(location) if isinstance(location, str) else location
    if isinstance(where, Path):
        return Store(where)
    mirror = mirror_of(where, cache)
    durable.make_folder_durably(mirror.root)
    try:
        mirror.remote.read_document(POINTER_FILE)
    except FileNotFoundError:
        (mirror.root / POINTER_FILE).unlink(missing_ok=True)
    else:
        mirror.sync()
    return RemoteStore(mirror)
