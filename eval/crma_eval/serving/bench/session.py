"""The run: servers are started and wait; then every system has its turn, repeat after repeat."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import BaseModel
from crma_eval.serving.bench.client import Timings
from crma_eval.serving.bench.residency import Residency
from crma_eval.serving.bench.servers import Commands, Server, Spec, serving
from crma_eval.serving.bench.turn import Found, Journal, Turn
from crma_eval.serving.load.processes import tree_of, usage

IDLE_S = 5.0
# vLLM's processes look for work without sleeping for a second after the last (SpinCondition): whoever has the
# next turn would share the machine with them. The client takes a while too before it sends.
SETTLE_S = 1.0
LEAST_FREE_BYTES = 3 * 2**30


class Client(Protocol):
    """What sends the requests of a turn."""

    def run(self, url: str, turn: Turn) -> Timings: ...


@dataclass(frozen=True)
class Job:
    """What is to be measured: `repeats` of turns; `warm_ups`, whose figures do not count, come first.

    `follow`: for a server whose adapters do not all fit into memory, how many do. `fresh`: every repeat
    starts its servers anew, since a process keeps a speed of its own for as long as it lives.
    """

    specs: Mapping[str, Spec]
    repeats: tuple[tuple[Turn, ...], ...]
    warm_ups: tuple[Turn, ...]
    follow: Mapping[str, int] = field(default_factory=dict)
    minutes: float = float("inf")
    fresh: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was found; of the servers started, how each start went, and CPU seconds per second of all of them
    together while nothing was asked."""

    found: tuple[Found, ...]
    servers: tuple[Server, ...]
    idle_cpu: float = 0.0

    def ready_s(self, name: str) -> float | None:
        """From the server's start until it answered; None if it was not started this time."""
        return next((server.ready_s for server in self.servers if server.name == name), None)


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Of jobs that ran one after the other; `idle_cpu` is the worst of theirs."""
    return Outcome(
        tuple(found for outcome in outcomes for found in outcome.found),
        tuple(server for outcome in outcomes for server in outcome.servers),
        max(outcome.idle_cpu for outcome in outcomes),
    )


@dataclass(frozen=True)
class Stage:
    """Where a run takes place. `started` hears of each server, `measured` of each turn."""

    base: BaseModel
    logs: Path
    journal: Journal
    commands: Commands
    started: Callable[[str], None] = lambda _: None
    measured: Callable[[Turn], None] = lambda _: None


def run_job(job: Job, client: Client, stage: Stage) -> Outcome:
    """Measure what is not in the journal yet. A repeat that would probably end too late is not begun.

    Raises:
        ConfigError: a server did not start, or not every request was answered.
    """
    deadline_s = time.monotonic() + 60 * job.minutes
    if job.fresh:
        repeats = _in_time(job.repeats, deadline_s, stage)
        return joined([_measured(job, [repeat], client, stage, deadline_s) for repeat in repeats])
    return _measured(job, job.repeats, client, stage, deadline_s)


def _measured(
    job: Job, repeats: Sequence[tuple[Turn, ...]], client: Client, stage: Stage, deadline_s: float
) -> Outcome:
    """These repeats, by servers that are started once."""
    missing = _missing(repeats, stage)
    found: list[Found] = []
    with contextlib.ExitStack() as stack:
        servers = _start(tuple(dict.fromkeys(turn.server for turn in missing)), job, stage, stack)
        bench = _Bench(client, servers, {name: Residency(size) for name, size in job.follow.items()})
        for turn in job.warm_ups:
            if turn.server in servers:
                bench.measure(turn)
        idle_cpu = bench.idle_cpu(IDLE_S) if servers else 0.0
        for repeat in _in_time(repeats, deadline_s, stage):
            found += [_turn(turn, bench, stage) for turn in repeat]
    return Outcome(tuple(found), tuple(servers.values()), idle_cpu)


def _in_time(
    repeats: Sequence[tuple[Turn, ...]], deadline_s: float, stage: Stage
) -> Iterator[tuple[Turn, ...]]:
    """The first, and the others until one would probably end too late, judged by the longest so far."""
    missing = _missing(repeats, stage)
    longest_s = 0.0
    for number, repeat in enumerate(repeats):
        start_s = time.monotonic()
        if number and missing and start_s + longest_s > deadline_s:
            return
        yield repeat
        longest_s = max(longest_s, time.monotonic() - start_s)


def _missing(repeats: Sequence[tuple[Turn, ...]], stage: Stage) -> list[Turn]:
    return [turn for repeat in repeats for turn in repeat if stage.journal.read(turn) is None]


class _Bench:
    """One turn after another, with the servers' own figures around each."""

    def __init__(
        self, client: Client, servers: Mapping[str, Server], followed: Mapping[str, Residency]
    ) -> None:
        self._client, self._servers, self._followed = client, servers, followed

    def idle_cpu(self, length_s: float) -> float:
        """CPU seconds per second that all servers together take of a machine on which nothing is asked."""
        time.sleep(2 * SETTLE_S)
        before, start_s = self._cpu_s(), time.monotonic()
        time.sleep(length_s)
        return (self._cpu_s() - before) / (time.monotonic() - start_s)

    def _cpu_s(self) -> float:
        return sum(usage(tree_of(server.pid)).cpu_s for server in self._servers.values())

    def measure(self, turn: Turn) -> Found:
        server = self._servers[turn.server]
        followed = self._followed.get(turn.server)
        resident = followed.ask(turn.models) if followed else None
        time.sleep(SETTLE_S)
        before = usage(tree_of(server.pid))
        timings = self._client.run(server.url, turn)
        after = usage(tree_of(server.pid))
        return Found(
            turn.repeat, turn.system, turn.concurrency, timings.duration_s, timings.output_tokens,
            timings.ttft_s, timings.itl_s, after.cpu_s - before.cpu_s, after.peak_bytes, resident,
        )  # fmt: skip


def _start(names: Sequence[str], job: Job, stage: Stage, stack: contextlib.ExitStack) -> dict[str, Server]:
    servers: dict[str, Server] = {}
    for name in names:
        stage.started(name)
        _check_memory(name, len(servers))
        server = stack.enter_context(serving(job.specs[name], stage.base, stage.logs, stage.commands))
        servers[name] = server
    return servers


def _check_memory(name: str, running: int, meminfo: Path = Path("/proc/meminfo")) -> None:
    """Raise `ConfigError` if one more server would probably end in the kernel killing something."""
    if not meminfo.is_file():
        return
    lines = (line.split() for line in meminfo.read_text(encoding="utf-8").splitlines())
    free = next((int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:"), LEAST_FREE_BYTES)
    if free < LEAST_FREE_BYTES:
        raise ConfigError(
            f"{free / 2**30:.1f} GiB of memory are free with {running} servers running; expected "
            f"{LEAST_FREE_BYTES / 2**30:g} to start {name}: leave systems out with --systems"
        )


def _turn(turn: Turn, bench: _Bench, stage: Stage) -> Found:
    found = stage.journal.read(turn)
    if found is None:
        found = bench.measure(turn)
        stage.journal.write(turn, found)
    stage.measured(turn)
    return found


def in_turns(turns: Sequence[Turn], repeat: int) -> tuple[Turn, ...]:
    """Forwards in even repeats, backwards in odd ones: a machine that slows down favours nobody."""
    return tuple(turns) if repeat % 2 == 0 else tuple(reversed(turns))
