"""Router decisions for concurrent requests, off the event loop: `await service.route(router, conversation,
key)`.

Requests that come in while the router decides are decided together next. The router is named with every
call, so it may be replaced at any time: who asked the former one is answered by it.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy  # noqa: F401  (the limit below holds for what is loaded by then)
from threadpoolctl import threadpool_limits

from crma_adapters.errors import CrmaError
from crma_router.policy import RoutingDecision

# A burst beyond this many is refused: at 5 ms each the last one waits 5 s already.
CAPACITY = 1024
# Texts decided in one go: bounds how long the first of them waits for the last.
MOST_TOGETHER = 16


class RouterBusyError(CrmaError):
    """More requests wait for the router than it can answer soon."""


class BatchRouter(Protocol):
    """Decides about texts: `route_many` in one thread, at no time two; `route_known` in the event loop."""

    def route_many(self, texts: list[str]) -> list[RoutingDecision]: ...

    def route_known(self, text: str) -> RoutingDecision | None:
        """The decision if it takes no embedding, else None; must not block."""
        ...


@dataclass(frozen=True, eq=False)
class _Request:
    router: BatchRouter
    text: str
    answer: asyncio.Future[RoutingDecision]


class RouterQueue:
    """Requests that come in while the router decides are decided together next; none is held back for others.

    One thread, whatever the load: the embedder takes one core, and the others belong to the engine. For that
    reason the process's matrix products (BLAS) have one thread too from then on: OpenBLAS's others go on
    looking for work for 80 ms after a decision, which itself takes 6.
    """

    def __init__(self, capacity: int = CAPACITY, most_together: int = MOST_TOGETHER) -> None:
        self._capacity = capacity
        self._most_together = most_together
        self._waiting: deque[_Request] = deque()
        self._running: asyncio.Task[None] | None = None
        threadpool_limits(1, user_api="blas")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crma-router")

    def close(self) -> None:
        """Cancel who waits. What the thread has begun it ends."""
        while self._waiting:
            self._waiting.popleft().answer.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def decide(self, router: BatchRouter, text: str) -> RoutingDecision:
        """The decision of `router` about `text`. Cancelling the caller affects no other.

        Raises:
            RouterBusyError: too many wait already.
            Exception: whatever `router` raises about this text, and no other's.
        """
        known = router.route_known(text)
        if known is not None:
            return known
        if len(self._waiting) >= self._capacity:
            raise RouterBusyError(
                f"{len(self._waiting)} requests wait for the router, which is the most; "
                "send this one again later, or name an adapter in 'model'"
            )
        loop = asyncio.get_running_loop()
        request = _Request(router, text, loop.create_future())
        self._waiting.append(request)
        if self._running is None:
            self._running = loop.create_task(self._run(loop))
        try:
            return await request.answer
        finally:
            if request.answer.cancelled() and request in self._waiting:
                self._waiting.remove(request)  # gives its place to others at once

    async def decide_many(self, router: BatchRouter, texts: Sequence[str]) -> list[RoutingDecision]:
        """The decisions of `router` about the turns of one conversation; raises as `decide` does."""
        return list(await asyncio.gather(*(self.decide(router, text) for text in texts)))

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[_Request] = []
        try:
            while batch := self._next_batch():
                router, texts = batch[0].router, [request.text for request in batch]
                outcomes = await loop.run_in_executor(self._thread, _decide_together, router, texts)
                for request, outcome in zip(batch, outcomes, strict=True):
                    _answer(request, outcome)
        except RuntimeError as closed:  # the thread takes no more work
            for request in batch:
                _answer(request, closed)
        finally:
            self._running = None
            for request in (*batch, *self._waiting):  # the loop ends: nobody may wait for ever
                request.answer.cancel()
            self._waiting.clear()

    def _next_batch(self) -> list[_Request]:
        """The longest-waiting request, and those behind it that ask the same router."""
        batch: list[_Request] = []
        while self._waiting and len(batch) < self._most_together:
            if batch and self._waiting[0].router is not batch[0].router:
                break
            request = self._waiting.popleft()
            if not request.answer.done():
                batch.append(request)
        return batch


def _answer(request: _Request, outcome: RoutingDecision | Exception) -> None:
    if request.answer.done():  # cancelled meanwhile
        return
    if isinstance(outcome, Exception):
        request.answer.set_exception(outcome)
    else:
        request.answer.set_result(outcome)


def _decide_together(router: BatchRouter, texts: Sequence[str]) -> list[RoutingDecision | Exception]:
    """One outcome for each text; a text that fails does not take the others with it."""
    distinct = list(dict.fromkeys(texts))
    outcomes = dict(zip(distinct, _outcomes(router, distinct), strict=True))
    return [outcomes[text] for text in texts]


def _outcomes(router: BatchRouter, texts: list[str]) -> list[RoutingDecision | Exception]:
    try:
        decisions = router.route_many(texts)
    except Exception as error:
        return [error] if len(texts) == 1 else [_outcomes(router, [text])[0] for text in texts]
    if len(decisions) != len(texts):
        raise AssertionError(f"{len(decisions)} decisions for {len(texts)} texts")
    return list(decisions)
