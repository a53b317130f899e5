"""What one server is to serve, settled before the engine hears of it: at the start, and for every release
that the store comes to hold while it runs."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchfiles import Change, awatch

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.ledger import POINTER_FILE
from crma_adapters.store.release import Pointer, Release
from crma_adapters.store.sources.mirror import Mirror
from crma_adapters.store.sources.remote_store import RemoteStore
from crma_adapters.store.store import Store
from crma_router.classifier.artifact import load_model
from crma_router.encoders.base import Embedder
from crma_router.router import Router
from crma_server.progress import report
from crma_server.releases.bundles import Bundle, Composer
from crma_server.releases.snapshot import KEEP_RELEASES, ReadOptions, StoreSnapshot, read_snapshot
from crma_server.routing.catalog import Canary, Catalog, Entry, adapter_entry, backbone_entry


class PendingRouter:
    """The router in a folder. Sent to another process, it is loaded there again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loading: Future[Router] | None = None

    def start(self) -> None:
        """Begin to load, if that has not begun."""
        if self._loading is None:
            threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crma-router-load")
            self._loading = threads.submit(_load, self.folder, None)
            threads.shutdown(wait=False)

    def give(self, router: Router) -> None:
        """It has been loaded already."""
        self._loading = Future()
        self._loading.set_result(router)

    def result(self) -> Router:
        """Wait for it. Raises `RouterError` if it cannot be loaded."""
        self.start()
        assert self._loading is not None
        return self._loading.result()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_loading": None}


def load_router(folder: Path, former: Router | None) -> Router:
    """The router in `folder`, with the embedder of `former` if it was fitted with that one.

    An embedder takes seconds to load and most of a router's memory. Raises `RouterError` as `Router.load`.
    """
    if former is not None and load_model(folder).embedder == former.embedder.name:
        return _load(folder, former.embedder)
    return _load(folder, None)


def _load(folder: Path, embedder: Embedder | None) -> Router:
    """With the map of its examples drawn, so that no request waits for it."""
    router = Router.load(folder, embedder)
    _ = router.example_map
    return router


@dataclass(frozen=True)
class SourceConfig:
    """Where a plan came from, and so how the next one is made."""

    root: Path
    base: BaseModel
    served_names: tuple[str, ...]
    keep: int
    mirror: Mirror | None = None

    def store(self) -> Store:
        """The store, to read and to change; `root` is where it is read, `mirror` follows its source."""
        return RemoteStore(self.mirror) if self.mirror else Store(self.root)


@dataclass(frozen=True)
class ReleasePlan:
    """Everything the HTTP side needs. It travels to every API server process vLLM starts.

    `bundles` are live: loaded before they answer. `named` are those of the `kept` releases that are not live:
    the engine loads them when somebody asks for one by its exact name.
    """

    catalog: Catalog
    bundles: tuple[Bundle, ...]
    named: tuple[Bundle, ...]
    router: PendingRouter | None
    release: Release | None
    kept: tuple[Release, ...]
    origin: SourceConfig


def make_plan(
    contents: StoreSnapshot,
    served_names: Iterable[str] = (),
    *,
    keep: int = KEEP_RELEASES,
    known: Iterable[Bundle] = (),
) -> ReleasePlan:
    """Name everything in the store and compose what the engine will load; `known` bundles stay as they are.

    Raises:
        ConfigError: a served name is also an adapter's.
        IntegrityError: a part changed on disk since it was verified.
    """
    release = contents.release
    composer = Composer(contents, known)
    adapters = _entries(release) | {
        # A plain folder was trained without this release's CRMA, so it is served as it is.
        name: adapter_entry(name, source.part.version, None)
        for name, source in composer.plain.items()
    }
    catalog = Catalog(
        adapters,
        _backbone_entry(release),
        served_names,
        canaries=_canaries(release),
        kept=[entry for earlier in contents.kept for entry in _all_entries(earlier)],
    )
    return ReleasePlan(
        catalog=catalog,
        bundles=tuple(composer.bundle(target) for target in catalog.targets()),
        named=tuple(composer.bundle(target) for target in catalog.kept_targets()),
        router=PendingRouter(contents.router_dir) if contents.router_dir else None,
        release=release,
        kept=contents.kept,
        origin=SourceConfig(
            contents.store.root, contents.base, tuple(served_names), keep, _mirror(contents.store)
        ),
    )


def _mirror(store: Store) -> Mirror | None:
    return store.mirror if isinstance(store, RemoteStore) else None


def _entries(release: Release | None) -> dict[str, Entry]:
    if release is None:
        return {}
    return {
        name: adapter_entry(name, entry.part.version, release.backbone_of(entry))
        for name, entry in release.adapters.items()
    }


def _canaries(release: Release | None) -> dict[str, Canary]:
    if release is None:
        return {}
    return {
        name: Canary(adapter_entry(name, canary.part.version, release.backbone_of(canary)), canary.weight)
        for name, entry in release.adapters.items()
        if (canary := entry.canary) is not None
    }


def _backbone_entry(release: Release | None) -> Entry | None:
    return backbone_entry(release.backbone.version) if release and release.backbone else None


def _all_entries(release: Release) -> Iterator[Entry]:
    yield from _entries(release).values()
    yield from (canary.entry for canary in _canaries(release).values())
    if (backbone := _backbone_entry(release)) is not None:
        yield backbone


class StoreSource:
    """The store that a plan came from."""

    def __init__(self, origin: SourceConfig, max_rank: int, modules: frozenset[str] | None = None) -> None:
        """`max_rank` is the largest LoRA rank the running engine takes, `modules` are those it gives a LoRA
        (None: all)."""
        self._origin = origin
        self._store = origin.store()
        self._max_rank = max_rank
        self._modules = modules

    def pointer(self) -> Pointer:
        """Raises `StoreError` if there is none or it is damaged."""
        return self._store.pointer()

    def plan(self, current: ReleasePlan, refused: Collection[int]) -> ReleasePlan:
        """As `make_plan`. Raises `StoreError`, `RouterError` or `ConfigError` for what cannot be served."""
        sound = [release for release in (current.release, *current.kept) if release is not None]
        how = ReadOptions(self._origin.keep, self._max_rank, self._modules, tuple(sound), refused)
        contents = read_snapshot(self._store, self._origin.base, how)
        known = (*current.bundles, *current.named)
        return make_plan(contents, self._origin.served_names, keep=self._origin.keep, known=known)


POLL_S = 1.0
_SETTLE_MS = 20
_LONGEST_MS = 200


async def changes(root: Path, *, poll: bool = False) -> AsyncIterator[None]:
    """Yields when the store's pointer may have changed: at once where the system tells, else every second.

    What it tells is not relied upon (a network file system says nothing of other machines' writing): the file
    is looked at every second besides. `poll`: do not even ask the system.
    """
    seen = _signature(root / POINTER_FILE)
    async for told in _ticks(root, poll=poll):
        found = _signature(root / POINTER_FILE)
        if told or found != seen:
            seen = found
            yield


async def _ticks(root: Path, *, poll: bool) -> AsyncIterator[bool]:
    """True when the system tells of a change, False every `POLL_S` without one."""
    if not poll:
        try:
            async for told in awatch(
                root,
                watch_filter=_is_pointer,
                debounce=_LONGEST_MS,
                step=_SETTLE_MS,
                rust_timeout=int(POLL_S * 1000),
                yield_on_timeout=True,
                recursive=False,
            ):
                yield bool(told)
        except (OSError, RuntimeError) as error:  # no watches left, or a file system without them
            report(f"{root} cannot be watched ({error}): looking every {POLL_S:g} s instead")
    while True:
        await asyncio.sleep(POLL_S)
        yield False


def _is_pointer(_: Change, path: str) -> bool:
    return Path(path).name == POINTER_FILE


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None while there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
