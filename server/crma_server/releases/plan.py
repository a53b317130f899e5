"""What one server is to serve, settled before the engine hears of it: at the start, and for every release.

Owns: turning a checked store into a catalog, the bundles behind it and a router folder. Knows nothing of the
engine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.release import Release
from crma_server.releases.bundles import Bundle
from crma_server.releases.composer import Composer
from crma_server.releases.snapshot import KEEP_RELEASES, Contents
from crma_server.routing.catalog import Canary, Catalog, Entry, adapter_entry, backbone_entry
from crma_server.routing.pending_router import PendingRouter


@dataclass(frozen=True)
class Origin:
    """Where a plan came from, and so how the next one is made."""

    root: Path
    base: BaseModel
    served_names: tuple[str, ...]
    keep: int


@dataclass(frozen=True)
class ServePlan:
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
    origin: Origin


def make_plan(
    contents: Contents,
    served_names: Iterable[str] = (),
    *,
    keep: int = KEEP_RELEASES,
    known: Iterable[Bundle] = (),
) -> ServePlan:
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
    return ServePlan(
        catalog=catalog,
        bundles=tuple(composer.bundle(target) for target in catalog.targets()),
        named=tuple(composer.bundle(target) for target in catalog.kept_targets()),
        router=PendingRouter(contents.router_dir) if contents.router_dir else None,
        release=release,
        kept=contents.kept,
        origin=Origin(contents.store.root, contents.base, tuple(served_names), keep),
    )


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
