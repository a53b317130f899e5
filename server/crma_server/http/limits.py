"""The ASGI layer that turns away what the server cannot take: requests at once, in all and for one key, and
requests a minute. What is over a limit gets 429 with `Retry-After` at once: nothing waits in a queue of
ours."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from crma_server.http.access import Access
from crma_server.http.drain import Drain
from crma_server.http.request import RequestContext
from crma_server.http.response import send_error

_MINUTE_S = 60.0
# Keys that were rotated away leave buckets behind; past this many, full ones are dropped.
_MANY = 1024
# How long an answer takes is not known; a second is soon enough to find a free place.
_RETRY_S = 1.0


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
