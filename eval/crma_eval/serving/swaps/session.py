"""One run: a store of its own, a server on it, clients that stream, and release after release.

Owns: the order of a run and what is noted of it. Knows nothing of how it is judged or printed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.release import AdapterEntry
from crma_adapters.store.store import Store
from crma_eval.serve import COMMAND, live_server
from crma_eval.serving.echo import Voice, write_echo
from crma_eval.serving.processes import Footprint, footprint, session_of
from crma_eval.serving.swaps.publisher import Publisher, exact_names
from crma_eval.serving.swaps.streams import DOMAIN, TIMEOUT_S, Answer, Streams
from crma_eval.serving.swaps.timeline import Published, Timeline

OPEN_STREAMS = 8
"""A release is published while as many are past their first token and not at their last."""

METRICS = ("crma_release_swaps_total", "crma_refused_releases_total", "crma_bundles")


@dataclass(frozen=True)
class Plan:
    """What to do. `pause_s` lies between a release's first answer and the next publication."""

    swaps: int
    clients: int
    pause_s: float
    seed: int
    flags: tuple[str, ...]


@dataclass
class Record:
    """What was seen. `footprints` come one per swap, when its release answered; `open_streams` likewise."""

    timeline: Timeline = field(default_factory=Timeline)
    answers: list[Answer] = field(default_factory=list)
    open_streams: list[int] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    missed: int = 0
    names: list[str] = field(default_factory=list)
    gone_status: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def run_session(
    plan: Plan,
    base: BaseModel,
    voices: Sequence[Voice],
    folder: Path,
    log: Path,
    advance: Callable[[Record], None] = lambda _: None,
    command: Sequence[str] = COMMAND,
) -> Record:
    """Serve a new store in `folder` and swap; `advance` is called after each swap.

    Raises `ConfigError` if the server does not start.
    """
    record = Record()
    publisher = Publisher(Store(folder / "store"), base, record.timeline)
    _publish_first(publisher, voices[0], folder)
    session: list[int] = []
    serving = live_server(
        folder / "store",
        log,
        model=base.name,
        flags=plan.flags,
        command=command,
        started=session.append,
    )
    with serving as url:
        start_s = time.monotonic()
        asyncio.run(_swap_all(plan, publisher, voices[1:], record, url, session[0], advance))
        record.seconds = time.monotonic() - start_s
    return record


def _publish_first(publisher: Publisher, voice: Voice, folder: Path) -> None:
    base, now_s = publisher.base, time.monotonic()
    part = publisher.store.add_adapter(DOMAIN, write_echo(folder / "first", DOMAIN, voice, base))
    publisher.store.publish(
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=None,
        adapters={DOMAIN: AdapterEntry(part, None, None)},
        router=None,
    )
    publisher.timeline.begin(Published(1, part.version, voice.word, now_s, now_s, now_s))


async def _swap_all(
    plan: Plan,
    publisher: Publisher,
    voices: Sequence[Voice],
    record: Record,
    url: str,
    session: int,
    advance: Callable[[Record], None],
) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, limits=limits) as client:
        streams = Streams(client, record.timeline, record.answers.append)
        running = asyncio.create_task(streams.run(plan.clients, plan.seed))
        try:
            for voice in voices[: plan.swaps]:
                await _until(lambda: streams.open >= min(OPEN_STREAMS, plan.clients), TIMEOUT_S)
                record.open_streams.append(streams.open)
                record.missed += not await publisher.swap(client, voice)
                record.footprints.append(await asyncio.to_thread(lambda: footprint(session_of(session))))
                advance(record)
                await asyncio.sleep(plan.pause_s)
        finally:
            streams.stopping = True
            await running
        await _look_at_the_end(client, record)


async def _look_at_the_end(client: httpx.AsyncClient, record: Record) -> None:
    await asyncio.sleep(2.0)  # what drained last is unloaded
    record.names = await exact_names(client)
    oldest = record.timeline.releases[0].version
    body = {"model": f"{DOMAIN}@{oldest}", "prompt": "x", "max_tokens": 1}
    record.gone_status = (await client.post("/v1/completions", json=body)).status_code
    for line in (await client.get("/metrics")).text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.partition("{")[0] in METRICS:
            record.metrics[name] = float(value)


async def _until(holds: Callable[[], bool], timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not holds():
                await asyncio.sleep(0.05)
