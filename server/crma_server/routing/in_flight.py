"""Which requests are under way, by what they may still need: a whole release, or one engine model.

Owns: counting, and waiting until a count is zero. Knows nothing of HTTP, engines or what a key stands for.
Everything happens in the event loop, so nothing here is locked.
"""

import asyncio
from collections import Counter
from collections.abc import Hashable
from types import TracebackType
from typing import Self


class Lease:
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
    """Counts of requests under way."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._left = asyncio.Event()

    def lease(self) -> Lease:
        """A new request's lease; it holds nothing yet."""
        return Lease(self)

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
