"""Releases published to a server that is answering: does any request notice?"""

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.store import Store
from crma_eval.report import Report
from crma_eval.serve import COMMAND, live_server
from crma_eval.serving.load.clients import (
    MEANING,
    PROMPTS,
    Answer,
    Clients,
    Fault,
    Row,
    Streams,
    faults,
    listed,
    live_versions,
    none,
    rows_of,
    until,
    verdict,
)
from crma_eval.serving.load.processes import Footprint, footprint, session_of
from crma_eval.serving.load.publisher import Publisher, Voice

DOMAIN = "echo"
TIMEOUT_S = 300.0
TOKENS = (8, 64)
PINNED = 0.25
"""This share asks for the live version by its exact name."""

OPEN_STREAMS = 8
"""A release is published while as many are past their first token and not at their last."""

METRICS = ("crma_release_swaps_total", "crma_refused_releases_total", "crma_bundles")
GIVE_UP_S = 120.0
GOAL_FIRST_ANSWER_S = 5.0
GOAL_GROWTH = 0.05
KEPT = 3
SETTLED = 10
"""Swaps after which caches are filled: growth is counted from there."""

_JUDGED: tuple[Fault, ...] = ("failed", "cut", "mixed", "mismarked", "not live")


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

    publisher: Publisher
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
    record = Record(Publisher(Store(folder / "store"), base, {DOMAIN: voices}))
    first = record.publisher.publish()
    first.live_s = first.published_s
    session: list[int] = []
    with live_server(
        folder / "store", log, model=base.name, flags=plan.flags, command=command, started=session.append
    ) as url:
        start_s = time.monotonic()
        asyncio.run(_swap_all(plan, record, url, session[0], advance))
        record.seconds = time.monotonic() - start_s
    return record


async def _swap_all(
    plan: Plan, record: Record, url: str, session: int, advance: Callable[[Record], None]
) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, limits=limits) as client:
        streams = Streams(client)
        clients = Clients(lambda draw, _: _ask(streams, record.publisher, draw))
        record.answers = clients.done
        clients.begin(plan.clients, plan.seed)
        try:
            for _ in range(plan.swaps):
                await until(lambda: streams.open >= min(OPEN_STREAMS, plan.clients), TIMEOUT_S)
                record.open_streams.append(streams.open)
                record.missed += not await _swap(client, record.publisher)
                record.footprints.append(await asyncio.to_thread(lambda: footprint(session_of(session))))
                advance(record)
                await asyncio.sleep(plan.pause_s)
        finally:
            await clients.end()
        await _look_at_the_end(client, record)


async def _ask(streams: Streams, publisher: Publisher, draw: random.Random) -> Answer:
    """One answer; most by the alias, some by the exact name of what is live."""
    live = publisher.confirmed
    pinned = publisher.version(DOMAIN, live) if draw.random() < PINNED else None
    answer = Answer(
        domain=DOMAIN, asked_tokens=draw.randint(*TOKENS), pinned=pinned, oldest=live, newest=live
    )

    def begun() -> None:
        answer.newest = len(publisher.releases)  # whatever answers had been chosen by now

    return await streams.ask(answer, draw.choice(PROMPTS), begun)


async def _swap(client: httpx.AsyncClient, publisher: Publisher) -> bool:
    """Publish and wait for the first answer; False if none came within `GIVE_UP_S`."""
    entry = await asyncio.to_thread(publisher.publish)
    version = publisher.version(DOMAIN, entry.number)
    while time.monotonic() - entry.begun_s < GIVE_UP_S:
        if (await live_versions(client, [DOMAIN])).get(DOMAIN) == version and (
            await Streams(client).ask(Answer(domain=DOMAIN, asked_tokens=1))
        ).version == version:
            entry.live_s = time.monotonic()
            return True
        await asyncio.sleep(0.02)
    return False


async def _look_at_the_end(client: httpx.AsyncClient, record: Record) -> None:
    await asyncio.sleep(2.0)  # what drained last is unloaded
    record.names = sorted(name for name in await listed(client) if name.startswith(f"{DOMAIN}@"))
    oldest = record.publisher.version(DOMAIN, 1)
    body = {"model": f"{DOMAIN}@{oldest}", "prompt": "x", "max_tokens": 1}
    record.gone_status = (await client.post("/v1/completions", json=body)).status_code
    for line in (await client.get("/metrics")).text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.partition("{")[0] in METRICS:
            record.metrics[name] = float(value)


@dataclass(frozen=True)
class Outcome:
    """The figures. Growth is the fitted line's rise from the settled start to the end, by its start."""

    swaps: int
    missed: int
    answers: int
    tokens: int
    faults: dict[str, int]
    first_answer_s: tuple[float, ...]
    fewest_streams: int
    usual_streams: float
    memory_growth: float
    files_growth: float
    kept_names: int
    gone_status: int | None

    def rows(self) -> list[Row]:
        """Every figure that has a goal, in the order of the table."""
        times = sorted(self.first_answer_s) or [float("inf")]
        first = f"median {statistics.median(times):.2f}, longest {times[-1]:.2f}"
        streams = f"median {self.usual_streams:g}, fewest {self.fewest_streams}"
        rise = f"rise of at most {GOAL_GROWTH:.0%}"
        memory, files = f"{self.memory_growth:+.1%}", f"{self.files_growth:+.1%}"
        total = f"{self.swaps + self.missed}"
        return [
            Row("swaps that came through", f"{self.swaps}", total, not self.missed),
            Row("streams open when a release was published", streams, f"{OPEN_STREAMS} or more",
                self.fewest_streams >= OPEN_STREAMS),
            Row("answers", f"{self.answers:,} with {self.tokens:,} words"),
            *(none(f"answers {name}: {MEANING[name]}", self.faults.get(name, 0)) for name in MEANING
              if name in self.faults),
            Row("published to first answer, s", first, f"at most {GOAL_FIRST_ANSWER_S:g}",
                times[-1] <= GOAL_FIRST_ANSWER_S),
            Row("memory of all processes", memory, rise, self.memory_growth <= GOAL_GROWTH),
            Row("open files", files, rise, self.files_growth <= GOAL_GROWTH),
            Row("exact names that answer at the end", f"{self.kept_names}", f"{KEPT}",
                self.kept_names == KEPT),
            Row("the first release's exact name at the end", f"{self.gone_status}", "404",
                self.gone_status == 404),
        ]  # fmt: skip


def outcome(record: Record) -> Outcome:
    """Judge every answer and add up."""
    publisher = record.publisher
    found = Counter(fault for answer in record.answers for fault in faults(answer, publisher.versions))
    swapped = publisher.releases[1:]
    settled = record.footprints[SETTLED:]
    return Outcome(
        swaps=len(swapped) - record.missed,
        missed=record.missed,
        answers=len(record.answers),
        tokens=sum(sum(answer.words.values()) for answer in record.answers),
        faults={fault: found[fault] for fault in _JUDGED},
        first_answer_s=tuple(each.first_answer_s for each in swapped if each.first_answer_s is not None),
        fewest_streams=min(record.open_streams, default=0),
        usual_streams=statistics.median(record.open_streams or [0]),
        memory_growth=growth([each.memory_bytes for each in settled]),
        files_growth=growth([each.files for each in settled]),
        kept_names=len(record.names),
        gone_status=record.gone_status,
    )


def growth(values: Sequence[float]) -> float:
    """Rise of the least-squares line from the first value to the last, by where it starts; 0 for under 2."""
    if len(values) < 2:
        return 0.0
    slope, start = statistics.linear_regression(range(len(values)), values)
    return slope * (len(values) - 1) / start


def swaps_report(plan: Plan, record: Record) -> Report:
    """The table, and every swap behind it."""
    found, publisher = outcome(record), record.publisher
    rows = found.rows()
    metrics = [Row(f"`{name}`", f"{value:g}") for name, value in sorted(record.metrics.items())]
    return Report(
        name="swaps",
        title="Release swaps under load",
        header=("", "goal", "found"),
        rows=rows_of([*rows, *metrics]),
        figures={
            "plan": asdict(plan),
            "outcome": asdict(found),
            "met": verdict(rows) == "met",
            "releases": [
                asdict(each) | {"first_answer_s": each.first_answer_s} for each in publisher.releases
            ],
            "open_streams": record.open_streams,
            "footprints": [asdict(each) for each in record.footprints],
            "metrics": record.metrics,
            "names": record.names,
            "faulty": [asdict(a) for a in record.answers if any(faults(a, publisher.versions))][:50],
        },
        remarks=(
            f"Goals: {verdict(rows)}. {found.swaps} swaps and {found.answers:,} answers in "
            f"{record.seconds / 60:.0f} minutes, {plan.clients} clients with one stream each, server flags: "
            f"{' '.join(plan.flags) or 'none'}.",
            "Every release brings an adapter that says a word of its own and nothing else, whatever it is "
            "asked, so each word of each answer shows who gave it. An answer by the alias must come from a "
            "release not older than the newest one seen to answer when the request was sent, and not newer "
            "than the newest one whose publication had begun when the reply began; a quarter of the "
            "requests ask for the live version by its exact name. All clients ask the same four questions.",
            f"Growth of memory and files is that of a fitted line, from the {SETTLED}th swap to the last.",
        ),
    )
