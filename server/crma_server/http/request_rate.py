"""How many requests a minute a key may send.

Owns: one bucket a key, filling evenly. Knows nothing of requests.
"""

import time
from collections.abc import Callable

_MINUTE_S = 60.0
# Keys that were rotated away leave buckets behind; past this many, full ones are dropped.
_MANY = 1024


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
