"""What a caller of the router queue waits, and what a decision costs the processor."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crma_router.batching import BatchRouter, RouterQueue
from crma_router.policy import RoutingDecision

WARMUP = 20


@dataclass(frozen=True)
class Quantiles:
    """Milliseconds: half, 90% and 99% of the cases took no longer."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Timing:
    """`waited`: as a caller sees it, queue included. `cpu`: thread time of what decides, ms a decision; not
    `route_known` where that leaves a text to the router's thread. `known`: how many decisions it made.
    """

    waited: Quantiles
    cpu: Quantiles
    decisions: int
    known: int = 0


def quantiles(milliseconds: Sequence[float]) -> Quantiles:
    """Of one or more cases, interpolated."""
    p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99))
    return Quantiles(float(p50), float(p90), float(p99))


class ClockedRouter:
    """A router that notes the CPU time of its decisions, in milliseconds each, and how many it knew."""

    def __init__(self, router: BatchRouter) -> None:
        self.cpu_ms: list[float] = []
        self.known = 0
        self._router = router

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        start_s = time.thread_time()
        decisions = self._router.route_many(texts)
        self.cpu_ms += [(time.thread_time() - start_s) * 1000 / len(texts)] * len(texts)
        return decisions

    def route_known(self, text: str) -> RoutingDecision | None:
        start_s = time.thread_time()
        decision = self._router.route_known(text)
        if decision is not None:
            self.known += 1
            self.cpu_ms.append((time.thread_time() - start_s) * 1000)
        return decision


def time_decisions(router: BatchRouter, texts: Sequence[str], callers: int) -> Timing:
    """Decide about every text once, `callers` at a time, each asking again as soon as it is answered."""
    clocked = ClockedRouter(router)
    waited = asyncio.run(_ask_all(clocked, texts, callers))
    return Timing(quantiles(waited), quantiles(clocked.cpu_ms), len(waited), clocked.known)


async def _ask_all(router: BatchRouter, texts: Sequence[str], callers: int) -> list[float]:
    queue, left, waited = RouterQueue(), iter(texts), list[float]()

    async def caller() -> None:
        for text in left:
            start_s = time.perf_counter()
            await queue.decide(router, text)
            waited.append((time.perf_counter() - start_s) * 1000)

    try:
        await asyncio.gather(*(caller() for _ in range(callers)))
    finally:
        queue.close()
    return waited
