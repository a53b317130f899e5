"""The run: servers are started and wait; then every system has its turn, repeat after repeat."""

import contextlib
import hashlib
import importlib.util
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import BaseModel
from crma_eval.serving.bench.servers import Commands, Server, Spec, serving
from crma_eval.serving.bench.turns import BenchClient, Found, Journal, Turn
from crma_eval.serving.load.processes import tree_of, usage

# vLLM's processes look for work without sleeping for a second after the last (SpinCondition): whoever has the
# next turn would share the machine with them. The client takes a while too before it sends.
SETTLE_S = 1.0
LEAST_FREE_BYTES = 3 * 2**30
# Code under measurement. Found, not imported: measuring a server needs none of it here.
_PACKAGES = ("crma_server", "crma_router", "crma_adapters")


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
    """What was found, and of the servers started how each start went."""

    found: tuple[Found, ...]
    servers: tuple[Server, ...]

    @classmethod
    def joined(cls, outcomes: Sequence["Outcome"]) -> "Outcome":
        """Of jobs that ran one after the other."""
        return cls(
            tuple(found for outcome in outcomes for found in outcome.found),
            tuple(server for outcome in outcomes for server in outcome.servers),
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


def run_job(job: Job, client: BenchClient, stage: Stage) -> Outcome:
    """Measure what is not in the journal yet. A repeat that would probably end too late is not begun.

    Raises:
        ConfigError: a server did not start, or not every request was answered.
    """
    deadline_s = time.monotonic() + 60 * job.minutes
    if job.fresh:
        repeats = _in_time(job.repeats, deadline_s, stage)
        return Outcome.joined([_measured(job, [repeat], client, stage, deadline_s) for repeat in repeats])
    return _measured(job, job.repeats, client, stage, deadline_s)


def _measured(
    job: Job, repeats: Sequence[tuple[Turn, ...]], client: BenchClient, stage: Stage, deadline_s: float
) -> Outcome:
    """These repeats, by servers that are started once."""
    found: list[Found] = []
    with contextlib.ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in dict.fromkeys(turn.server for turn in _missing(repeats, stage)):
            stage.started(name)
            _check_memory(name, len(servers))
            spec = job.specs[name]
            servers[name] = stack.enter_context(serving(spec, stage.base, stage.logs, stage.commands))
        followed = {name: Residency(size) for name, size in job.follow.items()}
        for turn in job.warm_ups:
            if turn.server in servers:
                _measure(turn, client, servers[turn.server], followed)
        for repeat in _in_time(repeats, deadline_s, stage):
            for turn in repeat:
                if (known := stage.journal.read(turn)) is None:
                    known = _measure(turn, client, servers[turn.server], followed)
                    stage.journal.write(turn, known)
                stage.measured(turn)
                found.append(known)
    return Outcome(tuple(found), tuple(servers.values()))


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


def _measure(turn: Turn, client: BenchClient, server: Server, followed: Mapping[str, "Residency"]) -> Found:
    """A turn, with the server's own figures around it."""
    resident = followed[turn.server].ask(turn.models) if turn.server in followed else None
    time.sleep(SETTLE_S)
    before = usage(tree_of(server.pid))
    found = client.run(server.url, turn)
    after = usage(tree_of(server.pid))
    return replace(found, cpu_s=after.cpu_s - before.cpu_s, peak_bytes=after.peak_bytes, resident=resident)


def _check_memory(name: str, running: int) -> None:
    """Raise `ConfigError` if one more server would probably end in the kernel killing something."""
    free = psutil.virtual_memory().available
    if free < LEAST_FREE_BYTES:
        raise ConfigError(
            f"{free / 2**30:.1f} GiB of memory are free with {running} servers running; expected "
            f"{LEAST_FREE_BYTES / 2**30:g} to start {name}: leave systems out with --systems"
        )


class Residency:
    """Which adapters are in the engine's memory, as far as the order of requests tells: it follows a server
    whose every request is known, since its `--max-cpu-loras` hottest were asked for.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, None] = OrderedDict()

    def ask(self, models: Sequence[str]) -> tuple[bool, ...]:
        """Whether each was there when it was asked for; now it is."""
        return tuple(self._ask(model) for model in models)

    def _ask(self, model: str) -> bool:
        found = model in self._known
        self._known[model] = None
        self._known.move_to_end(model)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return found


def place_of(work: Path, name: str, facts: Mapping[str, Any]) -> Path:
    """The folder of `work` that keeps what is measured: another one for other `facts` that figures depend on,
    or after a change of the code that is measured."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        folders = [Path(folder) for folder in (found.submodule_search_locations or [])] if found else []
        for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return work / f"{name}-{digest.hexdigest()[:12]}"
