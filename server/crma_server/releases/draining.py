"""Letting go of what a former release served, once no request needs it.

Owns: when a bundle's name and memory may go, and what is counted then. Knows nothing of how releases change.
"""

import asyncio
from collections.abc import Callable, Iterable

from crma_server.engine.base import Engine
from crma_server.observability.metrics import Metrics
from crma_server.progress import report
from crma_server.releases.bundles import Bundle
from crma_server.releases.plan import ServePlan
from crma_server.routing.catalog import label_of
from crma_server.routing.selector import InFlight, Live


class Draining:
    """What is no longer live and still answers."""

    def __init__(
        self, engine: Engine, in_flight: InFlight, metrics: Metrics, current: Callable[[], ServePlan]
    ) -> None:
        """`current` gives what is served now."""
        self._engine = engine
        self._in_flight = in_flight
        self._metrics = metrics
        self._current = current
        self._former: list[Live] = []
        self._bundles: dict[str, Bundle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def engine_models(self) -> tuple[str, ...]:
        """By name, those that requests under way still need."""
        return tuple(sorted(self._bundles))

    def begin(self, before: Live, former: ServePlan) -> None:
        """`before`, made of `former`, is live no more: see to it that what only it had goes."""
        plan = self._current()
        going = {bundle: None for bundle in former.bundles if bundle not in plan.bundles}
        still = (*plan.bundles, *plan.named)
        going |= {bundle: None for bundle in former.named if bundle not in still}
        self._former.append(before)
        task = asyncio.get_running_loop().create_task(self._drain(before, list(going)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def unload(self, bundles: Iterable[Bundle]) -> None:
        """Let go of their memory, but of those that are live."""
        for bundle in bundles:
            if bundle in self._current().bundles:
                continue
            try:
                await self._engine.unload(bundle)
            except Exception as error:  # it only costs memory, and the engine's limits bound that
                report(f"{bundle.engine_model} could not be unloaded: {error}")

    async def count(self) -> None:
        """Tell the metrics what is named and what is in memory."""
        plan = self._current()
        try:
            loaded = await self._engine.loaded()
        except Exception as error:  # the engine may be stopping; nothing hangs on this figure
            report(f"the engine does not say what it holds: {error}")
        else:
            self._metrics.set_bundles(len({*plan.bundles, *plan.named}), loaded)

    async def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drain(self, before: Live, bundles: list[Bundle]) -> None:
        self._bundles |= {bundle.engine_model: bundle for bundle in bundles}
        try:
            # Requests that are still being decided may choose anything that was live when they came.
            for live in self._former[: self._former.index(before) + 1]:
                await self._in_flight.idle(live)
            await asyncio.gather(*(self._let_go(bundle) for bundle in bundles))
            await self.count()
        finally:
            self._former.remove(before)
            for bundle in bundles:
                self._bundles.pop(bundle.engine_model, None)

    async def _let_go(self, bundle: Bundle) -> None:
        await self._in_flight.idle(bundle.engine_model)
        plan = self._current()
        if bundle in plan.bundles:  # live again
            return
        if bundle not in plan.named:
            self._engine.unregister(bundle)
            self._forget(bundle, plan)
        await self.unload([bundle])
        self._bundles.pop(bundle.engine_model, None)

    def _forget(self, bundle: Bundle, plan: ServePlan) -> None:
        named = {target.label for target in (*plan.catalog.targets(), *plan.catalog.kept_targets())}
        if (label := label_of(bundle.engine_model)) not in named:
            self._metrics.forget_version(*label)
