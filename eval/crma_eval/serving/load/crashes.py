"""A server killed at random moments while releases come: does it come back with a whole release?"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crma_adapters.errors import ConfigError, CrmaError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.models.cache import CACHE_VARIABLE, cache_dir
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_eval.report import Report, Section
from crma_eval.serve import COMMAND, start_server
from crma_eval.serving.load.clients import (
    MEANING,
    Fault,
    Row,
    faults,
    faults_of_served,
    none,
    rows_of,
    verdict,
)
from crma_eval.serving.load.life import PHASES, Lengths, Life, Living, draw_moments
from crma_eval.serving.load.publisher import Publisher, Said, Voice

DOMAINS = ("echo", "parrot")
WORDS = 20
"""How many words the adapters of a domain say in turn."""

LOG = "crashes-serve-{:02}.log"
_BUNDLES = "bundles"


@dataclass(frozen=True)
class Plan:
    """What to do. `pause_s` lies between two releases, whatever becomes of the server."""

    kills: int
    pause_s: float
    seed: int
    flags: tuple[str, ...]


@dataclass
class Check:
    """The store after a kill. `problem`: why it could not be served. `release`: what `release.json` names."""

    release: int | None
    problem: str | None


@dataclass
class Record:
    """What was seen. `lives` has one more than there are kills: the last server is stopped in order.

    `checks` come one per kill. `leftovers`: bundles that a kill left half made in the cache.
    """

    lives: list[Life] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    versions: Mapping[str, Said] = field(default_factory=dict)
    published: int = 0
    publisher_error: str | None = None
    leftovers: int = 0
    seconds: float = 0.0


def run_session(
    plan: Plan,
    base: BaseModel,
    voices: Sequence[Voice],
    folder: Path,
    logs: Path,
    advance: Callable[[Record], None] = lambda _: None,
    command: Sequence[str] = COMMAND,
) -> Record:
    """Publish to a new store in `folder`, and kill; `advance` is called after each kill.

    `voices`: `WORDS` for each of `DOMAINS`. `logs` takes a log of each server. Raises `ConfigError` if the
    first server does not start.
    """
    record, start_s = Record(), time.monotonic()
    said = {name: voices[at * WORDS : (at + 1) * WORDS] for at, name in enumerate(DOMAINS)}
    publisher = Publisher(Store(folder / "store"), base, said)
    publisher.publish()
    publisher.begin(plan.pause_s)
    lengths, cache = Lengths(), _own_cache(folder / "cache")
    try:
        for number, moment in enumerate([*draw_moments(plan.kills, plan.seed), None], start=1):
            life = Life(number, moment, publisher.store.pointer().release)
            record.lives.append(life)
            _live(plan, life, lengths, publisher, logs / LOG.format(number), cache, command)
            if number == 1 and life.ready_s is None:
                raise ConfigError(f"the first server: {life.trouble}; its log is {logs / LOG.format(1)}")
            if moment is not None:
                record.checks.append(check(publisher.store))
                advance(record)
    finally:
        publisher.end()
    record.versions, record.published = publisher.versions, publisher.published
    record.publisher_error = str(publisher.error) if publisher.error else None
    record.leftovers = sum(1 for _ in (folder / "cache" / _BUNDLES).glob(".*"))
    record.seconds = time.monotonic() - start_s
    return record


def _live(
    plan: Plan,
    life: Life,
    lengths: Lengths,
    publisher: Publisher,
    log: Path,
    cache: Mapping[str, str],
    command: Sequence[str],
) -> None:
    server = start_server(
        publisher.store.root,
        log,
        model=publisher.base.name,
        flags=plan.flags,
        command=command,
        environment=cache,
    )
    try:
        asyncio.run(Living(server, publisher, lengths, plan.seed).live(life))
    except Exception as error:  # a server that breaks off says so here; the run goes on
        life.trouble = f"{type(error).__name__}: {error}"
    finally:
        server.stop()


def check(store: Store) -> Check:
    """As `crma-adapters verify`, while the publisher goes on."""
    release: int | None = None
    try:
        live = store.live()
        release = live.number
        verify_release(store, live)
    except CrmaError as error:
        return Check(release, str(error))
    return Check(release, None)


def _own_cache(folder: Path) -> Mapping[str, str]:
    """A cache for this run's bundles, so that they are really composed; everything else is shared."""
    folder.mkdir(parents=True)
    with suppress(FileNotFoundError):
        for entry in cache_dir().iterdir():
            if entry.name != _BUNDLES:
                (folder / entry.name).symlink_to(entry)
    return {CACHE_VARIABLE: str(folder)}


@dataclass(frozen=True)
class Outcome:
    """The figures. `starts` are those that were to get ready, `came_up` those that did.

    `stream_faults`: of answers that were over before the kill.
    """

    kills: int
    halfway: int
    unverified: int
    lost: int
    starts: int
    came_up: int
    caught_up: int
    faults: dict[str, int]
    streams: int
    stream_faults: dict[str, int]
    survivors: int
    troubles: tuple[str, ...]
    publisher_error: str | None

    def rows(self) -> list[Row]:
        """Every figure that has a goal, in the order of the table."""
        wrong = "; ".join((*self.troubles, *([self.publisher_error] if self.publisher_error else [])))
        up, live = f"{self.came_up}", f"{self.caught_up}"
        return [
            Row("servers killed (SIGKILL to the whole process group)", f"{self.kills}"),
            Row("of these caught half way through a start or a change of release", f"{self.halfway}"),
            none("kills after which the store did not verify", self.unverified),
            none("kills after which release.json named an older release", self.lost),
            none("processes that outlived a kill", self.survivors),
            Row("later starts that got ready", up, f"{self.starts}", self.came_up == self.starts > 0),
            Row("of these served what release.json names, as soon as it rested", live, f"{self.starts}",
                self.caught_up == self.starts),
            *(none(f"after a start, {name}: {MEANING[name]}", self.faults[name]) for name in MEANING
              if name in self.faults),
            *(none(f"in a stream before the kill, {name}", n) for name, n in self.stream_faults.items()),
            Row("anything else that went wrong", wrong or "nothing", "nothing", not wrong),
        ]  # fmt: skip


def outcome(record: Record) -> Outcome:
    """Judge everything that was seen and add up."""
    ready = [life for life in record.lives if life.served]
    found = Counter(
        fault
        for life in ready
        for served in life.served
        for fault in faults_of_served(served, record.versions)
    )
    streams = Counter(fault for life in ready for fault in _stream_faults(life, record))
    return Outcome(
        kills=len(record.checks),
        halfway=sum(life.halfway for life in record.lives),
        unverified=sum(each.problem is not None for each in record.checks),
        lost=_lost(record),
        starts=sum(_was_to_get_ready(life) for life in record.lives),
        came_up=sum(life.ready_s is not None for life in record.lives),
        caught_up=sum(life.caught_up for life in record.lives),
        faults={fault: found[fault] for fault in MEANING},
        streams=sum(len(life.answers) for life in ready),
        stream_faults={fault: streams[fault] for fault in MEANING if fault not in ("half", "not live")},
        survivors=sum(life.survivors for life in record.lives),
        troubles=tuple(f"server {life.number}: {life.trouble}" for life in record.lives if life.trouble),
        publisher_error=record.publisher_error,
    )


def _was_to_get_ready(life: Life) -> bool:
    return life.moment is None or life.moment.phase not in ("starting", "loading")


def _lost(record: Record) -> int:
    """After how many kills `release.json` named an older release than when that server was started."""
    pairs = zip(record.lives, record.checks, strict=False)
    return sum(each.release is None or each.release < life.pointed for life, each in pairs)


def _stream_faults(life: Life, record: Record) -> Iterator[Fault]:
    for answer in life.answers:
        if life.killed_s is None or answer.over_s < life.killed_s:
            yield from faults(answer, record.versions)


def crashes_report(plan: Plan, record: Record) -> Report:
    """The table, a row for each server, and what is behind them."""
    found = outcome(record)
    ready = [life.ready_s for life in record.lives if life.ready_s is not None] or [float("nan")]
    facts = [
        Row("releases published meanwhile", f"{record.published}"),
        Row("streams", f"{found.streams:,}"),
        Row("start to ready, s", f"median {statistics.median(ready):.0f}, longest {max(ready):.0f}"),
        Row("half-made bundles left in the cache", f"{record.leftovers}"),
    ]
    return Report(
        name="crashes",
        title="The server killed at random moments",
        header=("", "goal", "found"),
        rows=rows_of([*found.rows(), *facts]),
        figures={
            "plan": asdict(plan),
            "outcome": asdict(found),
            "met": verdict(found.rows()) == "met",
            "published": record.published,
            "leftovers": record.leftovers,
            "lives": [_life_figures(life) for life in record.lives],
            "checks": [asdict(each) for each in record.checks],
        },
        remarks=_words(plan, record, found),
        sections=(_kills(record),),
    )


def _life_figures(life: Life) -> dict[str, Any]:
    """Without the answers of streams, of which there are hundreds, and all alike."""
    facts = asdict(life) | {"streams": len(life.answers)}
    del facts["answers"], facts["killed_s"]
    return facts


def _kills(record: Record) -> Section:
    rows = tuple(
        (
            str(life.number),
            life.moment.phase if life.moment else "stopped in order",
            f"{life.delay_s:.2f}" if life.moment else "",
            life.last_step,
            str(life.open_streams),
            str(life.processes),
            str(life.pointed),
            "" if life.ready_s is None else "yes",
        )
        for life in record.lives
    )
    header = ("server", "killed while", "s after its begin", "the last it had said", "open streams",
              "processes", "release at its start", "got ready")  # fmt: skip
    return Section("Every server", header, rows)


def _words(plan: Plan, record: Record, found: Outcome) -> tuple[str, ...]:
    phases = "; ".join(f"*{phase}*: {meaning}" for phase, meaning in PHASES.items())
    return (
        f"Goals: {verdict(found.rows())}. {found.kills} kills in {record.seconds / 60:.0f} minutes, seed "
        f"{plan.seed}, {plan.pause_s:g} s from one release to the next, server flags: "
        f"{' '.join(plan.flags) or 'none'}.",
        f"Every release brings each of {len(DOMAINS)} domains an adapter that says a word of its own and "
        "nothing else, so half of a release would show. Publishing goes on through kills and starts. A start "
        "is looked at twice: at once, when what it lists and says must be of one release not older than the "
        "one release.json named when it was started; and with publishing held, when it must be the one "
        "release.json names. A server that is killed before it is ready answers nothing: the next one that "
        "gets ready speaks for it too.",
        f"When they were killed: {phases}. The moment is drawn evenly over the phase's length.",
    )
