"""One server's life: started, looked at once it is ready, killed at a random point of a phase of its life."""

import asyncio
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx

from crma_eval.serve import ServerProcess
from crma_eval.serving.load.clients import PROMPTS, Answer, Clients, Served, Streams, live_versions, until
from crma_eval.serving.load.processes import running, session_of
from crma_eval.serving.load.publisher import Publisher

READY_TIMEOUT_S = 900.0
CATCH_UP_S = 60.0
PHASE_TIMEOUT_S = 60.0
GONE_TIMEOUT_S = 30.0
CLIENTS = 4
TOKENS = (16, 96)
LOOK_TOKENS = 8
_LOOK_EVERY_S = 0.02
_ANSWER_TIMEOUT_S = 120.0

Phase = Literal["starting", "loading", "serving", "changing", "published"]
PHASES: dict[Phase, str] = {
    "starting": "store, model and engine are on their way, no adapter is loaded",
    "loading": "adapters are loaded and warmed up before the first request",
    "serving": "streams are under way",
    "changing": "a new release is opened, composed, loaded or made live, with streams under way",
    "published": "release.json has just been moved, with streams under way",
}
BEFORE_READY: frozenset[Phase] = frozenset({"starting", "loading"})

# What crma-serve says of its way.
_STEP = re.compile(r"^\[\s*[\d.]+ s\] (.*)")
_LOADING = re.compile(r"loading \d+ adapters")
_CHANGE = re.compile(r"release \d+: loading")
_CHANGED = re.compile(r"release \d+ is live after ([\d.]+) s")


@dataclass(frozen=True)
class Moment:
    """A point of a phase: `share` of its usual length after its begin, 0 .. 1."""

    phase: Phase
    share: float


@dataclass
class Lengths:
    """How long each phase lasts, seconds. The first two and `changing` are those of the last server."""

    starting: float = 30.0
    loading: float = 5.0
    serving: float = 5.0
    changing: float = 2.0
    published: float = 0.2

    def delay_s(self, moment: Moment) -> float:
        """From the phase's begin to the kill."""
        return moment.share * float(getattr(self, moment.phase))


def draw_moments(count: int, seed: int) -> list[Moment]:
    """As many of each phase as of any other, in random order; the first is one of a server that got ready,
    on which the phases before it are measured.
    """
    draw = random.Random(seed)
    phases: list[Phase] = []
    while len(phases) < count:
        phases += draw.sample(list(PHASES), len(PHASES))
    phases = phases[:count]
    draw.shuffle(phases)
    first: Phase = next((each for each in phases if each not in BEFORE_READY), "serving")
    phases.pop(phases.index(first) if first in phases else -1)
    return [Moment(phase, draw.random()) for phase in (first, *phases)]


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
    """A server, who publishes to its store, and how long its phases usually are."""

    server: ServerProcess
    publisher: Publisher
    lengths: Lengths
    seed: int

    @property
    def domains(self) -> Sequence[str]:
        return tuple(self.publisher.voices)

    async def live(self, life: Life) -> None:
        """From its start to its kill, or to what was seen if it has no moment."""
        started_s = time.monotonic()
        if life.moment is not None and life.moment.phase in BEFORE_READY:
            if life.moment.phase == "loading":
                await self._until(lambda: self._count(_LOADING) > 0, READY_TIMEOUT_S)
            await self._kill(life, life.moment)
            return
        await self._until(lambda: self._count(_LOADING) > 0, READY_TIMEOUT_S)
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
            await self._look_twice(client, life)
            await self._stream_until_killed(client, life)

    async def _look_twice(self, client: httpx.AsyncClient, life: Life) -> None:
        """At what it serves at once, while the publisher goes on, and at what it serves when that rests."""
        first = Served(life.pointed)
        life.served.append(first)
        await self._look(client, first)
        first.newest = self.publisher.published + 1  # one may be on its way
        with self.publisher.held():
            release = self.publisher.store.live()
            settled = Served(release.number, release.number)
            life.served.append(settled)
            wanted = {domain: entry.part.version for domain, entry in release.adapters.items()}
            life.caught_up = await self._becomes(client, wanted)
            await self._look(client, settled)

    async def _look(self, client: httpx.AsyncClient, found: Served) -> None:
        """List, and have every adapter say something."""
        found.listed = await live_versions(client, self.domains)
        for domain in self.domains:
            answer = Answer(domain=domain, asked_tokens=LOOK_TOKENS)
            found.answers.append(await Streams(client).ask(answer))

    async def _becomes(self, client: httpx.AsyncClient, versions: dict[str, str]) -> bool:
        """Wait until these are live, all of them; False if they are not in time."""
        deadline_s = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline_s:
            if await live_versions(client, tuple(versions)) == versions:
                return True
            await asyncio.sleep(5 * _LOOK_EVERY_S)
        return False

    async def _stream_until_killed(self, client: httpx.AsyncClient, life: Life) -> None:
        streams = Streams(client)

        async def ask(draw: random.Random, _: int) -> Answer:
            answer = Answer(domain=draw.choice(self.domains), asked_tokens=draw.randint(*TOKENS))
            await streams.ask(answer, draw.choice(PROMPTS))
            if answer.error:
                await asyncio.sleep(0.1)  # nobody answers at once any more
            return answer

        clients = Clients(ask)
        clients.begin(CLIENTS, f"{self.seed}/{life.number}")
        try:
            if not await self._until(lambda: streams.open >= CLIENTS // 2, PHASE_TIMEOUT_S):
                life.trouble = "no streams were under way in time"
            if life.moment is not None:
                if not await self._begins(life.moment):
                    life.trouble = f"its phase {life.moment.phase!r} did not come in time"
                await self._kill(life, life.moment, streams)
        finally:
            await clients.end()
            life.answers = clients.done

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
        await until(lambda: not running(session_of(leader)), GONE_TIMEOUT_S)
        life.survivors = running(session_of(leader))

    async def _until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it holds in time; gives up when the server has ended."""
        await until(lambda: holds() or self.server.process.poll() is not None, timeout_s, _LOOK_EVERY_S)
        return holds()

    def _steps(self) -> list[str]:
        return [found[1] for line in self.server.said() if (found := _STEP.match(line))]

    def _count(self, pattern: re.Pattern[str]) -> int:
        return sum(bool(pattern.match(step)) for step in self._steps())
