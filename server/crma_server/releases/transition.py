"""Bundles on their way in and out of the engine: warmed up before anybody is answered by them, let go of once
no request needs them."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from crma_adapters.errors import IncompatibleError
from crma_server.engine import Engine
from crma_server.observability.metrics import Metrics
from crma_server.progress import report
from crma_server.releases.bundles import Bundle
from crma_server.releases.plan import ReleasePlan
from crma_server.routing.catalog import label_of
from crma_server.routing.selector import InFlight, Live

TIMEOUT_S = 120.0
# Log-probabilities (nats) this close are the same: float32 sums differ as much by their order alone.
SAME = 1e-5

T = TypeVar("T")


async def warm_up(engine: Engine, bundles: Sequence[Bundle], metrics: Metrics) -> None:
    """Load every bundle and generate one token under it; as many at a time as the engine can compute with.

    Raises `IncompatibleError` for a bundle that the engine refuses, whose log-probabilities are not numbers,
    or whose are those of the base model. What was loaded until then stays loaded.
    """
    for group in _groups(bundles, max(engine.slots, 1)):
        await _all(_load(engine, bundle, metrics) for bundle in group)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await _compare(engine, group)
        except TimeoutError:
            raise IncompatibleError(
                f"{_names(group)}: no token after {TIMEOUT_S:g} s; expected one at once: the engine is "
                "busy with other adapters, so publish again later or start with more --max-loras"
            ) from None


async def _load(engine: Engine, bundle: Bundle, metrics: Metrics) -> None:
    start_s = time.perf_counter()
    await engine.load(bundle)
    metrics.observe_load(time.perf_counter() - start_s)


async def _compare(engine: Engine, bundles: Sequence[Bundle]) -> None:
    # The base model before and behind: how far those two differ is what the hardware does by itself.
    base, *given, again = await _all(engine.first_logprobs(bundle) for bundle in (None, *bundles, None))
    noise = _difference(base, again)
    for bundle, logprobs in zip(bundles, given, strict=True):
        if not all(math.isfinite(value) for value in logprobs.values()):
            raise IncompatibleError(
                f"{bundle.engine_model}: its log-probabilities are not finite; expected numbers: its "
                "weights are too large for the engine's arithmetic, so train it again"
            )
        if _difference(base, logprobs) <= max(noise, SAME):
            raise IncompatibleError(
                f"{bundle.engine_model}: gives the log-probabilities of the base model; expected others: "
                "its weights are zero or do not reach the model, so train it again"
            )


def _difference(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """The largest between tokens both hold, in nats; infinite if they hold none in common."""
    shared = one.keys() & other.keys()
    return max((abs(one[token] - other[token]) for token in shared), default=math.inf)


async def _all(calls: Iterator[Awaitable[T]]) -> list[T]:
    """As gather, but every call has ended before an error is raised."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


def _groups(bundles: Sequence[Bundle], size: int) -> Iterator[Sequence[Bundle]]:
    for start in range(0, len(bundles), size):
        yield bundles[start : start + size]


def _names(bundles: Sequence[Bundle]) -> str:
    return ", ".join(bundle.engine_model for bundle in bundles)


class Draining:
    """What is no longer live and still answers."""

    def __init__(
        self, engine: Engine, in_flight: InFlight, metrics: Metrics, current: Callable[[], ReleasePlan]
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

    def begin(self, before: Live, former: ReleasePlan) -> None:
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

    def _forget(self, bundle: Bundle, plan: ReleasePlan) -> None:
        named = {target.label for target in (*plan.catalog.targets(), *plan.catalog.kept_targets())}
        if (label := label_of(bundle.engine_model)) not in named:
            self._metrics.forget(label)
