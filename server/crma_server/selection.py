"""From the name a client asked for and the text it sent to the target that answers.

Owns: the order of the decision (explicit names first, then the router, then the fallback) and running the
router off the event loop. Knows nothing of HTTP.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Protocol

from crma_router.policy import RoutingDecision
from crma_server.catalog import Catalog, Target
from crma_server.metrics import Metrics

Path = Literal["routed", "explicit", "fallback"]


class TextRouter(Protocol):
    """Decides which domain a text belongs to; called from one thread at a time."""

    def route(self, text: str) -> RoutingDecision: ...


@dataclass(frozen=True)
class Live:
    """What requests are answered from: replaced as a whole, so that no request sees half of a change."""

    catalog: Catalog
    router: TextRouter | None
    release: int | None


@dataclass(frozen=True)
class Choice:
    """What will answer a request, and why. `decision` is None when no router was asked."""

    target: Target
    path: Path
    reason: str
    decision: RoutingDecision | None
    release: int | None


class Selector:
    """Chooses what answers each request."""

    def __init__(self, live: Live, metrics: Metrics) -> None:
        self.live = live
        self._metrics = metrics
        # One thread: the embedder shares its tokenizer's state, and the cores belong to the engine.
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crma-router")

    async def choose(self, name: str, text: Callable[[], str]) -> Choice:
        """What answers a request for `name`; `text` gives what to route by, and is called only if needed.

        Raises `UnknownModelError` for a name nothing answers to, `RouterError` for text that cannot be read.
        """
        live = self.live
        selection = live.catalog.select(name)
        if selection.entry is not None:
            target = selection.entry.target(crma=selection.crma)
            choice = Choice(target, "explicit", "named by the client", None, live.release)
        else:
            loop = asyncio.get_running_loop()
            choice = await loop.run_in_executor(self._threads, self._route, live, text, selection.crma)
        self._metrics.count_request(choice.target.adapter, choice.path)
        return choice

    def _route(self, live: Live, text: Callable[[], str], crma: bool) -> Choice:
        def fallback(cause: str, reason: str, decision: RoutingDecision | None = None) -> Choice:
            self._metrics.count_fallback(cause)
            return Choice(live.catalog.fallback.target(crma=crma), "fallback", reason, decision, live.release)

        if live.router is None:
            return fallback("no router", "the release has no router")
        decision = self._decide(live.router, text())
        if decision.domain is None:
            return fallback(decision.cause, decision.reason, decision)
        entry = live.catalog.entry(decision.domain)
        if entry is None:
            return fallback("no adapter", f"no adapter serves the domain {decision.domain!r}", decision)
        return Choice(entry.target(crma=crma), "routed", decision.reason, decision, live.release)

    def _decide(self, router: TextRouter, text: str) -> RoutingDecision:
        start_s = time.perf_counter()
        decision = router.route(text)
        self._metrics.observe_decision(decision, time.perf_counter() - start_s)
        return decision
