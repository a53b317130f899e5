"""What an operator may do to a running server, and what it is told. Changes go to the store alone, which
every API server process follows; nothing reads a path that it is given."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from crma_adapters.errors import ConfigError
from crma_adapters.store.card import read_card
from crma_adapters.store.folders import StoreFolders
from crma_adapters.store.release import AdapterEntry, Part, Release, RunsOn
from crma_adapters.store.store import Store
from crma_server.releases.manager import Status
from crma_server.releases.plan import ReleasePlan
from crma_server.routing.catalog import BACKBONE, BASE, Catalog, Target


def find_exact(catalog: Catalog, name: str) -> Target:
    """What an exact name stands for.

    Raises:
        UnknownModelError: no release that is live or kept has it.
        ConfigError: the name is an alias, or the base model's.
    """
    selection = catalog.select(name)
    if selection.entry is None or "@" not in name:
        raise ConfigError(f"{name!r} is an alias, which releases move: expected NAME@VERSION")
    target = selection.entry.target(crma=selection.crma)
    if target.adapter == BASE:
        raise ConfigError(f"{name!r} is the base model: expected an adapter's exact name")
    return target


Document = dict[str, Any]


def status_document(status: Status, release: Release | None, history: Iterable[Release]) -> Document:
    """What is served now, and the releases there were, as they are given."""
    return asdict(status) | {
        "base_model": release.base_model if release else None,
        "backbone": _version(release.backbone) if release else None,
        "router": _version(release.router) if release else None,
        "history": [release_line(each) for each in history],
    }


def release_line(release: Release) -> Document:
    """A release in a history: the versions it names, without their files."""
    return {
        "number": release.number,
        "created": release.created,
        "note": release.note,
        "backbone": _version(release.backbone),
        "router": _version(release.router),
        "adapters": {name: entry.part.version for name, entry in release.adapters.items()},
        "canaries": {name: canary for name, entry in release.adapters.items() if (canary := _canary(entry))},
    }


def adapters_document(plan: ReleasePlan, folders: StoreFolders) -> list[Document]:
    """Every adapter that answers to an alias, with its card. Raises `StoreError` if a card cannot be read."""
    release = plan.release
    published = release.adapters if release else {}
    found = []
    if release is not None:
        found = [_published(name, release, plan, folders) for name in sorted(published)]
    plain = {
        target.adapter: target.version
        for target in plan.catalog.targets()
        if target.adapter not in published and target.adapter != BACKBONE
    }
    return found + [_plain(name, version) for name, version in sorted(plain.items())]


def _published(name: str, release: Release, plan: ReleasePlan, folders: StoreFolders) -> Document:
    entry = release.adapters[name]
    kept = [each.adapters[name].part.version for each in plan.kept if name in each.adapters]
    live = {entry.part.version, entry.canary.part.version if entry.canary else None}
    return {
        "name": name,
        "version": entry.part.version,
        "plain": False,
        "canary": _canary(entry),
        "kept": [version for version in dict.fromkeys(kept) if version not in live],
        "drift": entry.drift,
        "runs_on": asdict(entry.runs_on or RunsOn(release.backbone_of(entry), release.state_of(entry))),
        "card": asdict(read_card(folders.adapter_dir(name, entry.part.version))),
    }


def _plain(name: str, version: str | None) -> Document:
    return {
        "name": name,
        "version": version,
        "plain": True,
        "canary": None,
        "kept": [],
        "drift": None,
        "runs_on": None,
        "card": None,
    }


def _canary(entry: AdapterEntry) -> Document | None:
    canary = entry.canary
    return {"version": canary.part.version, "weight": canary.weight} if canary else None


def _version(part: Part | None) -> str | None:
    return part.version if part else None


HISTORY = 50


class Served(Protocol):
    """What this process serves; `releases.Releases` is the real one."""

    plan: ReleasePlan

    def status(self) -> Status: ...

    async def notice(self, *, again: bool = False) -> Status: ...

    async def load(self, engine_model: str) -> None: ...

    async def unload(self, engine_model: str) -> None: ...


class Operations(Protocol):
    """Every method raises `CrmaError` for what cannot be done."""

    async def status(self) -> Document: ...

    async def release(self, number: int | None) -> Document: ...

    async def releases(self, limit: int) -> list[Document]: ...

    async def adapters(self) -> list[Document]: ...

    async def rollback(self, number: int | None) -> Document: ...

    async def set_canary(self, name: str, version: str, weight: float, drift: float | None) -> Document: ...

    async def promote(self, name: str) -> Document: ...

    async def drop_canary(self, name: str) -> Document: ...

    async def reload(self) -> Document: ...

    async def load_adapter(self, name: str, path: str | None) -> None: ...

    async def unload_adapter(self, name: str) -> None: ...


class StoreOperations:
    """`Operations` on a store, or the one at `root`, and on what `served` gives, there once requests come."""

    def __init__(self, root: Path | Store, served: Callable[[], Served]) -> None:
        self._store = root if isinstance(root, Store) else Store(root)
        self._served = served

    async def status(self) -> Document:
        served = self._served()
        history = await asyncio.to_thread(self._history, HISTORY)
        return status_document(served.status(), served.plan.release, history)

    async def release(self, number: int | None) -> Document:
        """A release's document as the store has it; None: the live one."""
        read = self._store.live if number is None else lambda: self._store.release(number)
        document: Document = json.loads((await asyncio.to_thread(read)).to_json())
        return document

    async def releases(self, limit: int) -> list[Document]:
        return [release_line(each) for each in await asyncio.to_thread(self._history, limit)]

    async def adapters(self) -> list[Document]:
        return await asyncio.to_thread(adapters_document, self._served().plan, self._store)

    async def rollback(self, number: int | None) -> Document:
        """Back to release `number`; None: to the one before the live one."""
        return await self._change(lambda: self._rollback(number))

    async def set_canary(self, name: str, version: str, weight: float, drift: float | None) -> Document:
        return await self._change(lambda: self._store.set_canary(name, version, weight=weight, drift=drift))

    async def promote(self, name: str) -> Document:
        return await self._change(lambda: self._store.promote(name))

    async def drop_canary(self, name: str) -> Document:
        return await self._change(lambda: self._store.drop_canary(name))

    async def reload(self) -> Document:
        """Have this process look at the store again, also at what it refused."""
        await self._served().notice(again=True)
        return await self.status()

    async def load_adapter(self, name: str, path: str | None) -> None:
        """Bring an exact name's bundle into memory. `path`, if given, must be where the store keeps it."""
        served = self._served()
        target = find_exact(served.plan.catalog, name)
        if path is not None:
            _check_path(self._store.root, path, target.adapter, target.version or "")
        await served.load(target.engine_model)

    async def unload_adapter(self, name: str) -> None:
        """Let go of the memory of an exact name's bundle that is not live; the name still answers."""
        served = self._served()
        await served.unload(find_exact(served.plan.catalog, name).engine_model)

    async def _change(self, change: Callable[[], Release]) -> Document:
        """Change the store, then have this process follow at once; others follow when they notice."""
        published = await asyncio.to_thread(change)
        served = self._served()
        await served.notice()
        return {"release": release_line(published), "status": await self.status()}

    def _rollback(self, number: int | None) -> Release:
        with self._store.publishing():
            wanted = self._store.pointer().release - 1 if number is None else number
            if wanted < 1:
                raise ConfigError("release 1 is live: there is none before it to go back to")
            return self._store.rollback(wanted)

    def _history(self, limit: int) -> list[Release]:
        """Latest first; empty for a store of plain folders."""
        if self._served().plan.release is None:
            return []
        return sorted(self._store.latest(limit), key=lambda release: -release.number)


def _check_path(root: Path, given: str, name: str, version: str) -> None:
    """Raise `ConfigError` unless `given` is the adapter's own folder in the store. Opens nothing."""
    places = {root / name / version, root / name}
    wanted = {str(place) for place in places} | {str(place.absolute()) for place in places}
    if given.rstrip("/") not in wanted:
        raise ConfigError(
            f"lora_path {given!r} is not where the store keeps {name}@{version}: leave it out, or give "
            f"{root / name / version}"
        )
