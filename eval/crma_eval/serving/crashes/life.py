"""One server's life: started, looked at once it is ready, killed at its moment.

Owns: how the moment is found in what the server says, and the kill. Knows nothing of what is right.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from crma_adapters.store.store import Store
from crma_eval.serve import ServerProcess
from crma_eval.serving.crashes.moments import BEFORE_READY, Lengths, Moment
from crma_eval.serving.crashes.publisher import Publisher
from crma_eval.serving.crashes.served import Served, becomes, look
from crma_eval.serving.crashes.streams import Answer, Streams
from crma_eval.serving.processes import running, session_of

READY_TIMEOUT_S = 900.0
CATCH_UP_S = 60.0
PHASE_TIMEOUT_S = 60.0
GONE_TIMEOUT_S = 30.0
CLIENTS = 4
_LOOK_EVERY_S = 0.02
_ANSWER_TIMEOUT_S = 120.0

# What crma-serve says of its way.
_STEP = re.compile(r"^\[\s*[\d.]+ s\] (.*)")
_LOADING = re.compile(r"loading \d+ adapters")
_CHANGE = re.compile(r"release \d+: loading")
_CHANGED = re.compile(r"release \d+ is live after ([\d.]+) s")


@dataclass
class Life:
    """What was seen of one server. Without a `moment` it is stopped in order.

    `pointed`: the release that `release.json` named when it was started. `ready_s`: None if it never was.
    `caught_up`: whether it served what `release.json` names, once nothing more was published; `served`: what
    it served at first, and then. `last_step`: the last it said before the kill; `halfway`: it was starting or
    changing release then. `survivors`: processes that outlived the kill. `trouble`: what else went wrong.
    """

    number: int
    moment: Moment | None
    pointed: int
    ready_s: float | None = None
    caught_up: bool = False
    served: list[Served] = field(default_factory=list)
    delay_s: float = 0.0
    last_step: str = ""
    halfway: bool = False
    open_streams: int = 0
    processes: int = 0
    survivors: int = 0
    killed_s: float | None = None
    answers: list[Answer] = field(default_factory=list)
    trouble: str | None = None


@dataclass(frozen=True)
class Living:
    """A server, what it is to serve, and how long its phases usually are."""

    server: ServerProcess
    store: Store
    publisher: Publisher
    domains: Sequence[str]
    lengths: Lengths
    seed: int

    async def live(self, life: Life) -> None:
        """From its start to its kill, or to what was seen if it has no moment."""
        started_s = time.monotonic()
        if life.moment is not None and life.moment.phase in BEFORE_READY:
            if life.moment.phase == "loading":
                await self._until(lambda: self._says(_LOADING), READY_TIMEOUT_S)
            await self._kill(life, life.moment)
            return
        await self._until(lambda: self._says(_LOADING), READY_TIMEOUT_S)
        self.lengths.starting = time.monotonic() - started_s
        await self._until(lambda: self.server.address() is not None, READY_TIMEOUT_S)
        address = self.server.address()
        if address is None:
            life.trouble = f"it did not get ready, its last words: {self.server.last_words()}"
            return
        life.ready_s = time.monotonic() - started_s
        self.lengths.loading = max(life.ready_s - self.lengths.starting, _LOOK_EVERY_S)
        async with httpx.AsyncClient(
            base_url=address, timeout=_ANSWER_TIMEOUT_S, limits=httpx.Limits(max_connections=None)
        ) as client:
            await self._look(client, life)
            await self._stream_until_killed(client, life)

    async def _look(self, client: httpx.AsyncClient, life: Life) -> None:
        """At what it serves at once, while the publisher goes on, and at what it serves when that rests."""
        first = Served(life.pointed)
        life.served.append(first)
        await look(client, self.domains, first)
        first.newest = self.publisher.published + 1  # one may be on its way
        with self.publisher.held():
            release = self.store.live()
            settled = Served(release.number, release.number)
            life.served.append(settled)
            wanted = {domain: entry.part.version for domain, entry in release.adapters.items()}
            life.caught_up = await becomes(client, wanted, CATCH_UP_S)
            await look(client, self.domains, settled)

    async def _stream_until_killed(self, client: httpx.AsyncClient, life: Life) -> None:
        streams = Streams(client, self.domains)
        streams.begin(CLIENTS, f"{self.seed}/{life.number}")
        try:
            if not await self._until(lambda: streams.open >= CLIENTS // 2, PHASE_TIMEOUT_S):
                life.trouble = "no streams were under way in time"
            if life.moment is not None:
                if not await self._begins(life.moment):
                    life.trouble = f"its phase {life.moment.phase!r} did not come in time"
                await self._kill(life, life.moment, streams)
        finally:
            await streams.end()
            life.answers = streams.answers

    async def _begins(self, moment: Moment) -> bool:
        if moment.phase == "changing":
            changes = self._count(_CHANGE)
            return await self._until(lambda: self._count(_CHANGE) > changes, PHASE_TIMEOUT_S)
        if moment.phase == "published":
            published = self.publisher.published
            return await self._until(lambda: self.publisher.published > published, PHASE_TIMEOUT_S)
        return True

    async def _kill(self, life: Life, moment: Moment, streams: Streams | None = None) -> None:
        if changes := [float(found[1]) for step in self._steps() if (found := _CHANGED.match(step))]:
            self.lengths.changing = changes[-1]
        life.delay_s = self.lengths.delay_s(moment)
        await asyncio.sleep(life.delay_s)
        leader = self.server.process.pid
        life.processes = running(session_of(leader))
        if self.server.process.poll() is not None:
            life.trouble = f"it ended by itself, its last words: {self.server.last_words()}"
        life.open_streams = streams.open if streams else 0
        life.killed_s = time.monotonic()
        self.server.kill()
        steps = self._steps()
        life.last_step = steps[-1] if steps else "nothing"
        life.halfway = self.server.address() is None or bool(_CHANGE.match(life.last_step))
        await self._until(lambda: not running(session_of(leader)), GONE_TIMEOUT_S, whoever=True)
        life.survivors = running(session_of(leader))

    async def _until(self, holds: Callable[[], bool], timeout_s: float, *, whoever: bool = False) -> bool:
        """Whether it holds in time; gives up when the server has ended, unless `whoever`."""
        deadline_s = time.monotonic() + timeout_s
        while not (held := holds()):
            ended = not whoever and self.server.process.poll() is not None
            if ended or time.monotonic() > deadline_s:
                return holds()
            await asyncio.sleep(_LOOK_EVERY_S)
        return held

    def _steps(self) -> list[str]:
        return [found[1] for line in self.server.said() if (found := _STEP.match(line))]

    def _says(self, pattern: re.Pattern[str]) -> bool:
        return self._count(pattern) > 0

    def _count(self, pattern: re.Pattern[str]) -> int:
        return sum(bool(pattern.match(step)) for step in self._steps())
