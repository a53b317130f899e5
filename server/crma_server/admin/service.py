"""What an operator may do to a running server.

Owns: the protocol the admin API is written against, and its work on a store and on what this process serves.
Changes go to the store alone: every API server process follows it, so all of them change. Nothing here reads
a path that it is given: only names and versions, of what the store holds already.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from crma_adapters.errors import ConfigError
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_server.admin.documents import Document, adapters_document, release_line, status_document
from crma_server.admin.exact_name import find_exact
from crma_server.releases.manager import Status
from crma_server.releases.plan import ServePlan

HISTORY = 50


class Served(Protocol):
    """What this process serves; `releases.Releases` is the real one."""

    plan: ServePlan

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
    """`Operations` on the store at `root` and on what `served` gives, which is there once requests come."""

    def __init__(self, root: Path, served: Callable[[], Served]) -> None:
        self._store = Store(root)
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
