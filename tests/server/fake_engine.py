"""An engine and a source of releases that exist in memory only, for tests of what goes on between them."""

import asyncio
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crma_adapters.errors import IncompatibleError, IntegrityError, StoreError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.release import AdapterEntry, Part, Pointer, Release
from crma_adapters.store.release import Canary as StoredCanary
from crma_server.releases.bundles import Bundle, lora_id
from crma_server.releases.plan import ReleasePlan, SourceConfig
from crma_server.routing.catalog import Canary, Catalog, adapter_entry

BASE = {1: -0.5, 2: -1.5, 3: -3.0}
ORIGIN = SourceConfig(Path("/dev/null/store"), BaseModel("tiny", Path("/dev/null/tiny"), "f" * 64), (), 3)


def version(number: int) -> str:
    """The version of the adapter that release `number` brings."""
    return f"{number:012x}"


@dataclass
class FakeEngine:
    """Answers to registered names; a bundle computes something of its own unless it is said not to."""

    slots: int = 2
    room: int = 64
    names: dict[str, Bundle] = field(default_factory=dict)
    memory: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    zero: set[str] = field(default_factory=set)
    infinite: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    generated: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def load(self, bundle: Bundle) -> None:
        await asyncio.sleep(0)
        if bundle.engine_model in self.refused:
            raise IncompatibleError(f"the engine refuses {bundle.engine_model}")
        self.loads.append(bundle.engine_model)
        self.memory.add(bundle.engine_model)

    async def unload(self, bundle: Bundle) -> None:
        await asyncio.sleep(0)
        self.memory.discard(bundle.engine_model)

    async def loaded(self) -> int:
        return len(self.memory)

    def register(self, bundle: Bundle) -> None:
        self.names.setdefault(bundle.engine_model, bundle)

    def unregister(self, bundle: Bundle) -> None:
        del self.names[bundle.engine_model]

    async def first_logprobs(self, bundle: Bundle | None) -> Mapping[int, float]:
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if bundle is None:
            return BASE
        name = bundle.engine_model
        assert name in self.memory
        self.generated.append(name)
        if name in self.infinite:
            return {1: math.nan}
        shift = 0.0 if name in self.zero else 0.25
        return {token: value - shift for token, value in BASE.items()}


@dataclass
class FakeSource:
    """Releases by number; each brings a version of `medical`, and what is said besides."""

    live: int = 1
    keep: int = 3
    canaries: dict[int, tuple[int, float]] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    missing: bool = False
    read: list[int] = field(default_factory=list)

    def pointer(self) -> Pointer:
        if self.missing:
            raise StoreError("store has no release.json")
        return Pointer(self.live, f"{self.live:064x}")

    def plan(self, current: ReleasePlan | None, refused: Collection[int]) -> ReleasePlan:  # noqa: ARG002
        number = self.live
        self.read.append(number)
        if number in self.broken:
            raise IntegrityError(f"release {number}: sha256 differs")
        release = self._release(number)
        earlier = range(number - 1, max(number - self.keep, 0), -1)
        kept = tuple(self._release(n) for n in earlier if n not in refused and n not in self.broken)
        catalog = Catalog(
            {"medical": adapter_entry("medical", release.adapters["medical"].part.version, None)},
            None,
            canaries=self._trials(number),
            kept=[adapter_entry("medical", old.adapters["medical"].part.version, None) for old in kept],
        )
        bundles = [_bundle(target.engine_model) for target in catalog.targets()]
        named = [_bundle(target.engine_model) for target in catalog.kept_targets()]
        return ReleasePlan(catalog, tuple(bundles), tuple(named), None, release, kept, ORIGIN)

    def _release(self, number: int) -> Release:
        canary = None
        if number in self.canaries:
            other, weight = self.canaries[number]
            canary = StoredCanary(Part(version(other), {}), None, None, weight)
        part = Part(version(self.versions.get(number, number)), {})
        entries = {"medical": AdapterEntry(part, None, None, canary)}
        return Release(number, "2026-01-01T00:00:00Z", "tiny", "f" * 64, None, entries, None)

    def _trials(self, number: int) -> dict[str, Canary]:
        if number not in self.canaries:
            return {}
        other, weight = self.canaries[number]
        return {"medical": Canary(adapter_entry("medical", version(other), None), weight)}


def _bundle(name: str) -> Bundle:
    return Bundle(name, Path("bundles") / name, lora_id(name, ()))
