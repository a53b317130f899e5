"""Which target answers a request: names first, then the router; and which requests are under way."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from crma_adapters.errors import RouterError
from crma_router.conversation.sessions import KeyKind, SessionKey, Sessions
from crma_router.drift import PSIMonitor
from crma_router.policy import RoutingDecision
from crma_router.service import Asked, RouteDecision, RoutingService, TextRouter
from crma_server.observability.metrics import Metrics
from crma_server.routing.catalog import Catalog, Entry, Selection, Target

Path = Literal["routed", "explicit", "sticky", "fallback"]


@dataclass(frozen=True, eq=False)
class Live:
    """What requests are answered from: replaced as a whole, so that no request sees half of a change.

    `watch` compares the router's decisions with its training's, where that is known.
    """

    catalog: Catalog
    router: TextRouter | None
    release: int | None
    watch: PSIMonitor | None = None


@dataclass(frozen=True)
class Choice:
    """What will answer a request, and why. `decision` and `session` are None when no router was asked.

    session: by which kind of key the conversation is known; known: something was remembered of it. canary:
    the target is a domain's second version, which only a share of its sessions get."""

    target: Target
    path: Path
    reason: str
    decision: RoutingDecision | None
    release: int | None
    session: KeyKind | None = None
    known: bool = False
    canary: bool = False


class InFlightRef:
    """One request's hold on one key at a time. Used in a `with` statement, which ends it."""

    def __init__(self, in_flight: "InFlight") -> None:
        self._in_flight = in_flight
        self._key: Hashable | None = None

    def hold(self, key: Hashable) -> None:
        """Hold `key`, and no longer what was held before."""
        self._in_flight.enter(key)
        self.leave()
        self._key = key

    def leave(self) -> None:
        """Hold nothing any more."""
        if self._key is not None:
            self._in_flight.leave(self._key)
            self._key = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


class InFlight:
    """Counts of requests under way, by what they may still need: a whole release, or one engine model.

    Everything happens in the event loop, so nothing here is locked.
    """

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._left = asyncio.Event()

    def ref(self) -> InFlightRef:
        """A new request's reference; it holds nothing yet."""
        return InFlightRef(self)

    def enter(self, key: Hashable) -> None:
        self._counts[key] += 1

    def leave(self, key: Hashable) -> None:
        self._counts[key] -= 1
        if self._counts[key] <= 0:
            del self._counts[key]
            self._left.set()

    def count(self, key: Hashable) -> int:
        """How many hold `key` now."""
        return self._counts.get(key, 0)

    async def idle(self, key: Hashable) -> None:
        """Return once nobody holds `key`."""
        while self.count(key):
            self._left.clear()
            await self._left.wait()


class Selector:
    """Chooses what answers each request.

    `in_flight` knows what requests under way may need: the whole `Live` while one is being decided, then the
    engine model that answers it. Whoever replaces `live` can so wait until the former one is done with.
    """

    def __init__(
        self,
        live: Live,
        metrics: Metrics,
        sessions: Sessions | None = None,
        in_flight: InFlight | None = None,
    ) -> None:
        self.live = live
        self.in_flight = InFlight() if in_flight is None else in_flight
        self._metrics = metrics
        self._service = RoutingService(sessions)

    async def choose(
        self, name: str, asked: Callable[[], Asked] | None, ref: InFlightRef | None = None
    ) -> Choice:
        """What answers a request for `name`; `asked` gives what to route by, and is called only if needed.

        Without `asked` there is no one conversation: a name that routes means the fallback.

        `ref` holds what the request may need from here on, in the end the target. Raises
        `UnknownModelError` for a name nothing answers to, `RouterError` for text that cannot be read or
        prompts that belong to different domains, `RouterBusyError` if too many requests wait for the router.
        """
        live = self.live
        if ref is not None:
            ref.hold(live)
        selection = live.catalog.select(name)
        if selection.entry is not None:
            choice = await self._named(live, selection, selection.entry, asked)
        elif asked is None:
            choice = self._unrouted(live, crma=selection.crma)
        else:
            choice = await self._route(live, asked, crma=selection.crma)
        if ref is not None:
            ref.hold(choice.target.engine_model)
        self._metrics.count_request(choice.target.label, choice.path)
        return choice

    async def _named(
        self, live: Live, selection: Selection, entry: Entry, asked: Callable[[], Asked] | None
    ) -> Choice:
        target, canary = entry.target(crma=selection.crma), False
        if (second := selection.canary) is not None and asked is not None:
            key = await asyncio.to_thread(_key, asked)
            if canary := key is not None and second.answers(key, target.adapter):
                target = second.entry.target(crma=selection.crma)
        return Choice(target, "explicit", "named by the client", None, live.release, canary=canary)

    def _unrouted(self, live: Live, *, crma: bool) -> Choice:
        self._metrics.count_fallback("no conversation")
        reason = "this endpoint takes no single conversation to route by: name an adapter to ask it"
        return Choice(live.catalog.fallback.target(crma=crma), "fallback", reason, None, live.release)

    async def _route(self, live: Live, asked: Callable[[], Asked], *, crma: bool) -> Choice:
        fallback = live.catalog.fallback.target(crma=crma)
        if live.router is None:
            self._metrics.count_fallback("no router")
            return Choice(fallback, "fallback", "the release has no router", None, live.release)
        routed = await self._decide(live.router, asked)
        decision, known = routed.decision, (routed.key.kind, routed.known)
        self._watch_drift(live.watch, decision)
        if decision.domain is None:
            self._metrics.count_fallback(decision.cause)
            return Choice(fallback, "fallback", decision.reason, decision, live.release, *known)
        entry = live.catalog.entry(decision.domain)
        if entry is None:
            self._metrics.count_fallback("no adapter")
            reason = f"no adapter serves the domain {decision.domain!r}"
            return Choice(fallback, "fallback", reason, decision, live.release, *known)
        second = live.catalog.canary(decision.domain)
        canary = second is not None and second.answers(routed.key, decision.domain)
        target = (second.entry if second and canary else entry).target(crma=crma)
        return Choice(target, decision.path, decision.reason, decision, live.release, *known, canary)

    async def _decide(self, router: TextRouter, asked: Callable[[], Asked]) -> RouteDecision:
        start_s = time.perf_counter()
        routed = await self._service.route(router, asked)
        self._metrics.observe_decision(routed.decision, time.perf_counter() - start_s)
        self._metrics.set_sessions(len(self._service.sessions))
        return routed

    def _watch_drift(self, watch: PSIMonitor | None, decision: RoutingDecision) -> None:
        if watch is None or decision.path == "sticky":  # a follow-up is like nothing in training
            return
        watch.see(decision)
        if drift := watch.drift():
            self._metrics.set_drift(drift)


def _key(asked: Callable[[], Asked]) -> SessionKey | None:
    """The request's session, or None if what it holds is no conversation: vLLM says what is wrong with it."""
    try:
        return asked().key
    except RouterError:
        return None
