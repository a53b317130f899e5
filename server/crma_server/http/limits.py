"""The ASGI layers that turn away what the server cannot take (429 at once, nothing queues here) and end what
takes too long (504), and stopping without cutting anyone off."""

import asyncio
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crma_server.http.access import Access
from crma_server.http.request import RequestContext
from crma_server.http.response import ResponseRecorder, error_for, send_error
from crma_server.progress import report

_MINUTE_S = 60.0
# Keys that were rotated away leave buckets behind; past this many, full ones are dropped.
_MANY = 1024
# How long an answer takes is not known; a second is soon enough to find a free place.
_RETRY_S = 1.0


class Drain:
    """The requests being answered in this process, and whether it still takes new ones."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.stopping = False

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request is being answered within. Called in the event loop's thread only."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def stop(self, timeout_s: float) -> float:
        """Take no more requests and wait for those there are, `timeout_s` at most; the seconds it took.

        Blocks, so it is called outside of the event loop's thread.
        """
        self.stopping = True
        start_s = time.monotonic()
        if self.in_flight:
            report(f"stopping: {self.in_flight} requests may finish, {timeout_s:g} s at most")
        while self.in_flight and time.monotonic() - start_s < timeout_s:
            time.sleep(_POLL_S)
        return time.monotonic() - start_s


class RequestRate:
    """At most `per_minute` requests in a burst, and as many a minute after it, for each key. 0: no limit."""

    def __init__(self, per_minute: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock_s = clock_s
        self._buckets: dict[str, tuple[float, float]] = {}  # what was left, and when that was

    def wait_s(self, key: str) -> float:
        """Take one request of `key`'s: 0.0, or the seconds until there is one to take."""
        if not self._per_minute:
            return 0.0
        now_s = self._clock_s()
        left = self._left(key, now_s)
        if left < 1.0:
            return (1.0 - left) * _MINUTE_S / self._per_minute
        if len(self._buckets) >= _MANY:
            self._drop_full(now_s)
        self._buckets[key] = (left - 1.0, now_s)
        return 0.0

    def _left(self, key: str, now_s: float) -> float:
        left, then_s = self._buckets.get(key, (float(self._per_minute), now_s))
        return min(left + (now_s - then_s) * self._per_minute / _MINUTE_S, float(self._per_minute))

    def _drop_full(self, now_s: float) -> None:
        for key in [key for key in self._buckets if self._left(key, now_s) >= self._per_minute]:
            del self._buckets[key]


@dataclass(frozen=True)
class _Refusal:
    limit: str
    status: int
    message: str
    retry_s: float


class LimitsMiddleware:
    """Lets a request through to `app` while there is room. Only requests for inference are counted."""

    def __init__(
        self,
        app: ASGIApp,
        drain: Drain,
        rate: RequestRate,
        refused: Callable[[str], None],
        max_in_flight: int,
        key_concurrency: int = 0,
    ) -> None:
        """`refused` is told the name of the limit. `key_concurrency` 0: none of its own."""
        self._app = app
        self._drain = drain
        self._rate = rate
        self._refused = refused
        self._max_in_flight = max_in_flight
        self._key_concurrency = key_concurrency
        self._busy = 0
        self._busy_by_key: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = RequestContext.of(scope).principal if scope["type"] == "http" else None
        if principal is None or principal.access is not Access.INFERENCE:
            return await self._app(scope, receive, send)
        refusal = self._refusal(principal.key, asks=scope["method"] == "POST")
        if refusal is not None:
            self._refused(refusal.limit)
            kind = "ServiceUnavailableError" if refusal.status == 503 else "RateLimitError"
            retry = [(b"retry-after", b"%d" % math.ceil(refusal.retry_s))]
            return await send_error(scope, send, refusal.status, kind, refusal.message, headers=retry)
        with self._drain.request():
            if scope["method"] != "POST":
                return await self._app(scope, receive, send)
            return await self._answer(principal.key, scope, receive, send)

    async def _answer(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._busy += 1
        self._busy_by_key[key] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._busy -= 1
            self._busy_by_key[key] -= 1
            if not self._busy_by_key[key]:
                del self._busy_by_key[key]

    def _refusal(self, key: str, *, asks: bool) -> _Refusal | None:
        if self._drain.stopping:
            return _Refusal("stopping", 503, "the server is stopping: send this to another one", _RETRY_S)
        if not asks:
            return None
        if self._busy >= self._max_in_flight:
            message = f"{self._busy} requests are being answered, as many as this server takes: try again"
            return _Refusal("in flight", 429, message, _RETRY_S)
        if self._key_concurrency and self._busy_by_key[key] >= self._key_concurrency:
            message = (
                f"{self._key_concurrency} requests with this key are being answered: wait for one to end"
            )
            return _Refusal("key concurrency", 429, message, _RETRY_S)
        if wait_s := self._rate.wait_s(key):
            return _Refusal("key rate", 429, f"too many requests with this key: wait {wait_s:.1f} s", wait_s)
        return None


DEADLINE_HEADER = b"x-crma-deadline-ms"
_LONGEST_MS = 10**9
# How long what stands behind may take to hear of it before it is cancelled.
_GRACE_S = 2.0


class DeadlineMiddleware:
    """`app` answers each request within `limit_s` seconds (0: no limit), or less if the request says so."""

    def __init__(self, app: ASGIApp, limit_s: float, refused: Callable[[str], None]) -> None:
        self._app = app
        self._limit_s = limit_s
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = RequestContext.of(scope).principal if scope["type"] == "http" else None
        if principal is None or principal.access is not Access.INFERENCE:
            return await self._app(scope, receive, send)
        given = dict(scope["headers"]).get(DEADLINE_HEADER)
        if given is not None and not (given.isdigit() and 0 < int(given[:12]) <= _LONGEST_MS):
            message = f"{DEADLINE_HEADER.decode()}: expected a whole number of milliseconds from 1"
            return await send_error(scope, send, 400, "BadRequestError", message)
        limits_s = [limit_s for limit_s in (self._limit_s, int(given) / 1000 if given else 0) if limit_s]
        if not limits_s:
            return await self._app(scope, receive, send)
        return await self._within(min(limits_s), scope, receive, send)

    async def _within(self, limit_s: float, scope: Scope, receive: Receive, send: Send) -> None:
        connection = _Connection(scope, receive, send)
        work: Coroutine[Any, Any, None] = self._app(scope, connection.receive, connection.send)  # type: ignore[assignment]
        answering = asyncio.create_task(work)
        try:
            await asyncio.wait({answering}, timeout=limit_s)
            if answering.done() or not connection.may_be_cut:
                return await answering
            self._refused("deadline")
            await connection.cut(f"no whole answer within {limit_s:g} s")
            await asyncio.wait({answering}, timeout=_GRACE_S)
        finally:
            if not answering.done():
                answering.cancel()
                await asyncio.wait({answering}, timeout=_GRACE_S)
            if answering.done() and not answering.cancelled() and connection.is_cut:
                answering.exception()  # asked for, or asyncio would log it: it was told that the client left
        return None


class _Connection:
    """What the application hears and says, until it is cut."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.is_cut = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._cut = asyncio.Event()
        self._response = ResponseRecorder()

    @property
    def may_be_cut(self) -> bool:
        """A stream may end early. A whole reply that has begun is all but there, and its length announced."""
        response = self._response
        return response.status is None or (response.is_stream and not response.sent_all)

    async def receive(self) -> Message:
        heard, cut = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait({heard, cut}, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else {"type": "http.disconnect"}
        finally:
            heard.cancel()
            cut.cancel()

    async def send(self, message: Message) -> None:
        """Once cut, nothing is sent and nothing raised, as a server does when its client has left.

        Raising here would leave the generator of a stream suspended until Python collects it, and the engine
        generating for it until then.
        """
        if self.is_cut:
            return
        self._response.saw(message)
        await self._send(message)

    async def cut(self, message: str) -> None:
        """End the reply and have the application hear that nobody listens any more."""
        self.is_cut = True
        self._cut.set()
        with suppress(TimeoutError):  # a client that does not read; its connection ends with this request
            await asyncio.wait_for(self._end(message), _GRACE_S)

    async def _end(self, message: str) -> None:
        if self._response.status is None:
            return await send_error(self._scope, self._send, 504, "TimeoutError", message)
        event = {"type": "error"} | error_for(self._scope, 504, "TimeoutError", message)
        body = f"event: error\ndata: {json.dumps(event)}\n\n".encode("ascii")
        return await self._send({"type": "http.response.body", "body": body, "more_body": False})


_POLL_S = 0.05
# What vLLM still gets to stop its processes when the drain has used up its time.
_LEAST_S = 1.0
# What is still open once the engine has stopped (a listener on the dashboard, say) is closed after this.
_CLOSING_S = 2


def drain_before_shutdown(engine_client: Any, drain: Drain, server: Callable[[], Any]) -> None:
    """Have `engine_client.shutdown(timeout)` wait for the requests in flight first.

    `server` gives uvicorn's server, or None while there is none. A shutdown called in an event loop (a start
    that failed, the end of vLLM's context) does not wait.
    """
    shutdown = engine_client.shutdown
    once = threading.Lock()

    def drain_and_shutdown(timeout: float | None = None) -> None:
        if timeout is None or _in_event_loop() or not once.acquire(blocking=False):
            shutdown(timeout=timeout)
            return
        if (running := server()) is not None:
            running.config.timeout_graceful_shutdown = _CLOSING_S
        waited_s = drain.stop(timeout)
        shutdown(timeout=max(timeout - waited_s, _LEAST_S) if timeout else timeout)

    engine_client.shutdown = drain_and_shutdown


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
