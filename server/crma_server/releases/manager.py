"""From the release that answers to the next one, while requests go on:

    notice -> open, verify, compose -> load, warm up -> flip -> drain -> unload

All in the event loop but what reads and composes.
"""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from crma_adapters.errors import ConfigError, CrmaError, UnknownModelError
from crma_adapters.store.release import Pointer
from crma_router.drift import PSIMonitor
from crma_router.router import Router
from crma_server.engine import Engine
from crma_server.observability.metrics import Metrics
from crma_server.progress import report
from crma_server.releases.bundles import Bundle
from crma_server.releases.plan import ReleasePlan, load_router
from crma_server.releases.transition import Draining, warm_up
from crma_server.routing.selector import Live, Selector


class ReleaseSource(Protocol):
    """Where releases come from."""

    def pointer(self) -> Pointer:
        """Which release is to be live; cheap. Raises `StoreError` if that cannot be told."""
        ...

    def plan(self, current: ReleasePlan, refused: Collection[int]) -> ReleasePlan:
        """Everything checked and composed for it. `refused` are numbers that were. Raises `CrmaError`."""
        ...


@dataclass(frozen=True)
class Refusal:
    """A release that was not served. `kind` is the error's class name; `at` is ISO 8601 in UTC."""

    release: int | None
    kind: str
    reason: str
    at: str


@dataclass(frozen=True)
class Status:
    """What is served now. `kept` are the releases whose exact names answer, the live one first.

    `loading` is the number of the release on its way; `draining` are engine models no longer live that still
    answer requests; `refusal` is the last one.
    """

    live: int | None
    kept: tuple[int, ...]
    loading: int | None
    draining: tuple[str, ...]
    refusal: Refusal | None


class Releases:
    """What this process serves, and its way to the next release."""

    def __init__(
        self, plan: ReleasePlan, source: ReleaseSource, engine: Engine, selector: Selector, metrics: Metrics
    ) -> None:
        """`selector` answers from `plan` already, or will once `start` has been called."""
        self.plan = plan
        self._source = source
        self._engine = engine
        self._selector = selector
        self._metrics = metrics
        self._seen: Pointer | str | None = None
        self._refused: set[int] = set()
        self._refusal: Refusal | None = None
        self._loading: int | None = None
        self._changing = asyncio.Lock()
        self._draining = Draining(engine, selector.in_flight, metrics, lambda: self.plan)

    def status(self) -> Status:
        numbers = [release.number for release in self.plan.kept]
        live = self.plan.release.number if self.plan.release else None
        return Status(
            live=live,
            kept=tuple(numbers if live is None else [live, *numbers]),
            loading=self._loading,
            draining=self._draining.engine_models,
            refusal=self._refusal,
        )

    async def start(self) -> None:
        """Load and warm up what is live at the start. Raises `IncompatibleError` if it cannot be served.

        Of more than the engine has room for, the first ones, which are those with CRMA on: the others would
        only push each other out, and are loaded by the first request for them.
        """
        first, every = self.plan.bundles[: self._engine.room], len(self.plan.bundles)
        report(f"loading {len(first)} adapters" + (f" of {every}" if every > len(first) else ""))
        # The last ones loaded keep the slots if there are fewer of those: again the ones with CRMA on.
        await warm_up(self._engine, first[::-1], self._metrics)
        for bundle in (*self.plan.bundles, *self.plan.named):
            self._engine.register(bundle)
        await self._draining.count()
        found = await asyncio.to_thread(self._look)
        # Otherwise something was published meanwhile, and the first look shall find it.
        self._seen = found if _number(found) == self.status().live else None

    async def follow(self, changes: AsyncIterator[None]) -> None:
        """Look now, for what was published while the engine started, and whenever `changes` says so."""
        await self._notice()
        async for _ in changes:
            await self._notice()

    async def notice(self, *, again: bool = False) -> Status:
        """Serve the release the store points to, if that is another one than was tried last.

        `again`: even if not, for what was refused, or for plain folders that changed.
        """
        async with self._changing:
            found = await asyncio.to_thread(self._look)
            if again or found != self._seen:
                self._seen = found
                await self._change(found)
        return self.status()

    async def load(self, engine_model: str) -> None:
        """Have a bundle in memory before somebody asks for it. Raises `UnknownModelError`, or as `Engine`."""
        async with self._changing:
            await self._engine.load(self._bundle(engine_model))

    async def unload(self, engine_model: str) -> None:
        """Let go of a bundle's memory; its exact name still answers.

        Raises `UnknownModelError`, or `ConfigError` if it is live.
        """
        async with self._changing:
            bundle = self._bundle(engine_model)
            if bundle in self.plan.bundles:
                raise ConfigError(
                    f"{engine_model} is live, so it stays loaded: publish, promote or roll back first"
                )
            await self._draining.unload([bundle])

    async def close(self) -> None:
        """Stop draining."""
        await self._draining.close()

    async def _notice(self) -> None:
        try:
            await self.notice()
        except Exception:  # a bug must not end the following
            traceback.print_exc()

    def _bundle(self, engine_model: str) -> Bundle:
        for bundle in (*self.plan.bundles, *self.plan.named):
            if bundle.engine_model == engine_model:
                return bundle
        raise UnknownModelError(f"{engine_model}: no release that is live or kept has it")

    def _look(self) -> Pointer | str:
        try:
            return self._source.pointer()
        except CrmaError as error:
            return str(error)

    async def _change(self, found: Pointer | str) -> None:
        start_s = time.perf_counter()
        self._loading = _number(found)
        if self._loading is not None:
            report(f"release {self._loading}: loading")
        new: list[Bundle] = []
        try:
            plan = await asyncio.to_thread(self._source.plan, self.plan, frozenset(self._refused))
            new += [bundle for bundle in plan.bundles if bundle not in self.plan.bundles]
            router = await self._ready(plan, new)
        except Exception as error:
            if not isinstance(error, CrmaError):
                traceback.print_exc()  # a bug, or an engine that died; what is live goes on either way
            self._refuse(error)
            await self._draining.unload(new)
        else:
            before, seconds = self.status().live, time.perf_counter() - start_s
            self._flip(plan, router)
            if self.status().live != before:
                self._metrics.observe_swap(seconds)
            report(f"{_name(plan)} is live after {seconds:.1f} s, {len(new)} bundles new")
        finally:
            self._loading = None

    async def _ready(self, plan: ReleasePlan, new: Sequence[Bundle]) -> Router | None:
        """Warm up what is new while the plan's router is made; both have ended when an error is raised."""
        router = asyncio.create_task(asyncio.to_thread(self._router, plan))
        try:
            await warm_up(self._engine, new, self._metrics)
        finally:
            await asyncio.wait([router])
            router.exception()  # looked at, so that the one of the two that is raised is all that is said
        return router.result()

    def _router(self, plan: ReleasePlan) -> Router | None:
        """The plan's router: the one at work if it is the same, else one that shares its embedder."""
        if plan.router is None:
            return None
        current = self.plan.router.result() if self.plan.router else None
        if current is not None and self.plan.router and self.plan.router.folder == plan.router.folder:
            plan.router.give(current)
            return current
        plan.router.give(load_router(plan.router.folder, current))
        return plan.router.result()

    def _flip(self, plan: ReleasePlan, router: Router | None) -> None:
        """From here on requests are answered from `plan`. Nothing in here waits, so none sees half of it."""
        former, before = self.plan, self._selector.live
        for bundle in (*plan.bundles, *plan.named):
            self._engine.register(bundle)
        self._selector.live = make_live(plan, router, before)
        self.plan = plan
        if plan.release is not None:
            self._refused.discard(plan.release.number)
            self._metrics.set_release(plan.release)
            if plan.release.number != self._loading:  # published after the pointer was read: look once more
                self._seen = None
        self._draining.begin(before, former)

    def _refuse(self, error: Exception) -> None:
        kind = type(error).__name__
        reason = str(error) or kind
        self._refusal = Refusal(self._loading, kind, reason, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        if self._loading is not None:
            self._refused.add(self._loading)
        self._metrics.count_refused_release(kind)
        what = "the store" if self._loading is None else f"release {self._loading}"
        report(f"{what} is refused, {_name(self.plan)} stays live: {reason}")


def make_live(plan: ReleasePlan, router: Router | None, before: Live | None = None) -> Live:
    """What requests are answered from under `plan`; the drift watched goes on if the router is the same."""
    number = plan.release.number if plan.release else None
    if before is not None and before.router is router:
        return Live(plan.catalog, router, number, before.watch)
    return Live(plan.catalog, router, number, PSIMonitor(router.usual) if router else None)


def _number(found: Pointer | str) -> int | None:
    return found.release if isinstance(found, Pointer) else None


def _name(plan: ReleasePlan) -> str:
    return f"release {plan.release.number}" if plan.release else "what was served"
