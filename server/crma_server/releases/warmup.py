"""Whether a bundle computes something, and something of its own, before anybody is answered by it.

Owns: loading bundles and what their first generation must show. Knows nothing of releases.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import TypeVar

from crma_adapters.errors import IncompatibleError
from crma_server.engine.base import Engine
from crma_server.observability.metrics import Metrics
from crma_server.releases.bundles import Bundle

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
