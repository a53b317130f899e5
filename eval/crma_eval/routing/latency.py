"""`crma-eval router-latency`: how long a routing decision takes, alone and beside a busy engine."""

import argparse
import asyncio
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.report import Goal, Report, Section
from crma_eval.routing.command import router_folder
from crma_eval.serve import live_server
from crma_eval.task import Context, Result
from crma_router.batching import BatchRouter, RouterQueue
from crma_router.policy import RoutingDecision
from crma_router.router import Router

LENGTHS, CALLERS, WARM_UP = (8, 32, 128, 512), (1, 8), 20
GOAL_P50_MS, GOAL_P99_MS = 5.0, 15.0
STREAMS, STREAM_TOKENS = 8, 256  # that decode at once: past this, two cores give no more tokens a second
BACKBONE, AUTO = "backbone", "auto"  # the load names its model, so that it never asks the router
HISTOGRAM = "crma_router_seconds"
# vLLM's processes poll for their messages for a second after each, on every core there is, before they sleep.
IDLE_S = 1.5
_TIMEOUT_S = 600
_VOCABULARY = (
    "doctor patient fever blood heart pain court judge law contract money bank price market tax file table "
    "list value code computer energy light water cell earth star river house school city garden music story "
    "people country number answer question problem reason paper letter morning evening winter summer"
)
_WORDS = _VOCABULARY.split()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--adapters", type=Path, default=Path("adapters"), help="store (default: ./adapters)")
    parser.add_argument(
        "--decisions", type=int, default=500, help="behind each figure (default: %(default)s)"
    )
    parser.add_argument(
        "--engine-decisions", type=int, default=50, help="with an engine (default: %(default)s)"
    )
    engine = parser.add_mutually_exclusive_group()
    engine.add_argument("--serve", action="store_true", help="start crma-serve and keep its engine busy, too")
    engine.add_argument("--url", help="the same with a server that runs already")
    parser.add_argument("--seed", type=int, default=0, help="of the texts (default: 0)")
    parser.set_defaults(router=None)


def run(context: Context) -> Result:
    """Measure alone, then inside a server at rest and under load."""
    args = context.args
    for flag, value in (("--decisions", args.decisions), ("--engine-decisions", args.engine_decisions)):
        if value < 1:
            raise ConfigError(f"{flag} is {value}; give 1 or more")
    router = Router.load(router_folder(args))
    alone = measure_alone(router, args.decisions, args.seed)
    served: list[Served] = []
    if args.serve or args.url:
        with _server(args, context.report or Path("runs")) as url:
            served = measure_served(url, args.engine_decisions)
    return Result(latency_report(router.model.embedder, alone, served), goals_of(alone))


@contextmanager
def _server(args: argparse.Namespace, logs: Path) -> Iterator[str]:
    if args.url:
        yield args.url
        return
    with live_server(args.adapters, logs / "router-latency-serve.log") as url:
        yield url


@dataclass(frozen=True)
class Quantiles:
    """Milliseconds: half, 90 % and 99 % of the cases took no longer."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> "Quantiles":
        """Of one or more cases, interpolated."""
        return cls(*map(float, np.percentile(milliseconds, (50, 90, 99))))

    def texts(self) -> tuple[str, ...]:
        """For a table."""
        return tuple(f"{value:.2f}" for value in (self.p50, self.p90, self.p99))


@dataclass(frozen=True)
class Alone:
    """Texts of `tokens`, asked before or not, so many callers at a time. `waited`: as a caller sees it, queue
    included; `cpu`: thread time of what decides, a decision."""

    tokens: int
    asked_before: bool
    callers: int
    waited: Quantiles
    cpu: Quantiles
    decisions: int


def fresh_texts(tokens: int, count: int, seed: int) -> list[str]:
    """`count` distinct texts of `tokens` words, each one token of usual embedders; the same for one seed."""
    draw = random.Random(f"{seed}:{tokens}")
    made: dict[str, None] = {}
    while len(made) < count:
        made[" ".join(draw.choices(_WORDS, k=tokens))] = None
    return list(made)


def measure_alone(router: BatchRouter, decisions: int, seed: int) -> list[Alone]:
    """Every length by one and by eight callers, new texts and then the same again."""
    time_decisions(router, fresh_texts(LENGTHS[0], WARM_UP, seed - 1), 1)
    cells = [(tokens, callers) for tokens in LENGTHS for callers in CALLERS]
    found = []
    for at, (tokens, callers) in enumerate(tqdm(cells, desc="alone", file=sys.stderr)):
        texts = fresh_texts(tokens, decisions, seed + at * 1000)
        for before in (False, True):
            waited, cpu = time_decisions(router, texts, callers)
            times = Quantiles.of(waited), Quantiles.of(cpu)
            found.append(Alone(tokens, before, callers, *times, len(waited)))
    return found


def time_decisions(
    router: BatchRouter, texts: Sequence[str], callers: int
) -> tuple[list[float], list[float]]:
    """Decide about every text once, `callers` at a time, each asking again as soon as it is answered; what
    each waited and what each cost the processor, in ms."""
    return asyncio.run(_ask_all(router, texts, callers))


async def _ask_all(
    router: BatchRouter, texts: Sequence[str], callers: int
) -> tuple[list[float], list[float]]:
    clocked, queue, left, waited = _Clocked(router), RouterQueue(), iter(texts), list[float]()

    async def caller() -> None:
        for text in left:
            start_s = time.perf_counter()
            await queue.decide(clocked, text)
            waited.append((time.perf_counter() - start_s) * 1000)

    try:
        await asyncio.gather(*(caller() for _ in range(callers)))
    finally:
        queue.close()
    return waited, clocked.cpu_ms


class _Clocked:
    """A router that notes the CPU time of its decisions, in milliseconds each."""

    def __init__(self, router: BatchRouter) -> None:
        self.cpu_ms: list[float] = []
        self._router = router

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        start_s = time.thread_time()
        decisions = self._router.route_many(texts)
        self.cpu_ms += [(time.thread_time() - start_s) * 1000 / len(texts)] * len(texts)
        return decisions

    def route_known(self, text: str) -> RoutingDecision | None:
        start_s = time.thread_time()
        decision = self._router.route_known(text)
        if decision is not None:
            self.cpu_ms.append((time.thread_time() - start_s) * 1000)
        return decision


@dataclass(frozen=True)
class Histogram:
    """The server's own account of its router: decisions of at most each bound, in seconds, ascending, the
    last one without a bound (inf)."""

    buckets: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, exposition: str) -> "Histogram":
        """Of Prometheus' text format; several processes' series are added up. Raises `ConfigError`."""
        sums: dict[float, float] = {}
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name == f"{HISTOGRAM}_bucket":
                    bound = float(sample.labels["le"])
                    sums[bound] = sums.get(bound, 0.0) + sample.value
        if float("inf") not in sums:
            raise ConfigError(f"no {HISTOGRAM} among the metrics; expected those of a crma-serve that routes")
        return cls(tuple(sorted(sums.items())))

    @classmethod
    def read(cls, client: httpx.Client) -> "Histogram":
        """The server's histogram now. Raises `ConfigError` if there is no crma-serve."""
        try:
            return cls.parse(client.get("/metrics").raise_for_status().text)
        except httpx.HTTPError as error:
            raise ConfigError(f"{client.base_url}/metrics: {error}; expected a running crma-serve") from error

    @property
    def count(self) -> int:
        return int(self.buckets[-1][1])

    def since(self, former: "Histogram") -> "Histogram":
        """What came after `former` was read."""
        before = dict(former.buckets)
        return Histogram(tuple((bound, value - before.get(bound, 0)) for bound, value in self.buckets))

    def quantile_ms(self, share: float) -> float:
        """As Prometheus' histogram_quantile: even within a bucket; past the last bound, that bound."""
        wanted, lower, below = share * self.count, 0.0, 0.0
        for bound, value in self.buckets:
            if value >= wanted:
                if bound == float("inf"):
                    break
                part = (wanted - below) / (value - below) if value > below else 1.0
                return (lower + (bound - lower) * part) * 1000
            lower, below = bound, value
        return lower * 1000

    def quantiles(self) -> Quantiles:
        return Quantiles(*map(self.quantile_ms, (0.5, 0.9, 0.99)))


@dataclass(frozen=True)
class Served:
    """Decisions of a server about texts of `tokens`, conversation and queue included: while its engine had
    nothing to do, and while `STREAMS` streams decoded and were given `tokens_per_s`."""

    tokens: int
    rest: Quantiles
    loaded: Quantiles
    decisions: int
    tokens_per_s: float


def measure_served(url: str, decisions: int, idle_s: float = IDLE_S) -> list[Served]:
    """At rest `idle_s` lie between two requests. Raises `ConfigError` if the server refuses or the load
    breaks off."""

    def texts(tokens: int, seed: int) -> list[str]:  # asked never before, not by a former run on this server
        return fresh_texts(tokens, decisions, seed + os.getpid() * 1000)

    with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as client:
        ask_routed(client, texts(LENGTHS[0], 0)[:10])  # the first one is slow
        rest = [ask_routed(client, texts(tokens, 1), idle_s) for tokens in LENGTHS]
        with busy(url) as tokens_so_far:
            start_s, before = time.monotonic(), tokens_so_far()
            loaded = [ask_routed(client, texts(tokens, 2)) for tokens in LENGTHS]
            tokens_per_s = (tokens_so_far() - before) / (time.monotonic() - start_s)
    return [
        Served(tokens, calm.quantiles(), beside.quantiles(), beside.count, tokens_per_s)
        for tokens, calm, beside in zip(LENGTHS, rest, loaded, strict=True)
    ]


def ask_routed(client: httpx.Client, texts: Sequence[str], pause_s: float = 0.0) -> Histogram:
    """Ask `auto` about each text, a conversation of its own, for one token of answer, `pause_s` after the one
    before; what the server's histogram gained. Raises `ConfigError` if the server refuses."""
    former = Histogram.read(client)
    for text in texts:
        time.sleep(pause_s)
        body = {"model": AUTO, "max_tokens": 1, "messages": [{"role": "user", "content": text}]}
        try:
            client.post("/v1/chat/completions", json=body).raise_for_status()
        except httpx.HTTPError as error:
            raise ConfigError(f"{client.base_url} refused a routed question: {error}") from error
    return Histogram.read(client).since(former)


@contextmanager
def busy(url: str, streams: int = STREAMS) -> Iterator[Callable[[], int]]:
    """The engine decodes within; yields what tells the tokens so far. Raises `ConfigError` at the end if it
    did not all the time."""
    tokens, ends, begun, failures = [0] * streams, threading.Event(), threading.Event(), list[Exception]()
    body = {"model": BACKBONE, "prompt": "Tell me", "max_tokens": STREAM_TOKENS, "ignore_eos": True,
            "stream": True, "temperature": 1.0}  # fmt: skip

    def stream(place: int) -> None:
        with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as client:
            while not ends.is_set():
                try:
                    with client.stream("POST", "/v1/completions", json=body) as reply:
                        for line in reply.raise_for_status().iter_lines():
                            if ends.is_set():
                                return
                            if line.startswith("data: {"):
                                tokens[place] += 1
                                begun.set()
                except httpx.HTTPError as error:
                    failures.append(error)
                    ends.set()
                    begun.set()

    threads = [threading.Thread(target=stream, args=(place,), daemon=True) for place in range(streams)]
    for thread in threads:
        thread.start()
    begun.wait(_TIMEOUT_S)
    try:
        yield lambda: sum(tokens)
    finally:
        ends.set()
        for thread in threads:
            thread.join(_TIMEOUT_S)
    if failures:
        raise ConfigError(f"{url}: the load broke off: {failures[0]}")


def goals_of(alone: Sequence[Alone]) -> tuple[Goal, ...]:
    """Of a lone caller's new texts, the slowest length counts."""
    judged = [one.waited for one in alone if not one.asked_before and one.callers == 1]
    worst = {"p50": max(one.p50 for one in judged), "p99": max(one.p99 for one in judged)}
    bounds = {"p50": GOAL_P50_MS, "p99": GOAL_P99_MS}
    return tuple(
        Goal(f"{name} of one caller's new text, any length", f"at most {bounds[name]:g} ms", f"{ms:.2f} ms",
             ms <= bounds[name])
        for name, ms in worst.items()
    )  # fmt: skip


def latency_report(embedder: str, alone: Sequence[Alone], served: Sequence[Served]) -> Report:
    """The tables; `served` is empty when no server was asked."""
    waits = tuple(f"waited {name}" for name in ("p50", "p90", "p99"))
    rows = tuple(
        (str(one.tokens), "yes" if one.asked_before else "no", str(one.callers), *one.waited.texts(),
         *(f"{ms:.2f}" for ms in (one.cpu.p50, one.cpu.p99)), str(one.decisions))
        for one in alone
    )  # fmt: skip
    return Report(
        name="router-latency",
        title="How long the router takes for a decision",
        header=("tokens", "asked before", "callers", *waits, "CPU p50", "CPU p99", "decisions"),
        rows=rows,
        figures={
            "embedder": embedder,
            "alone": [asdict(one) for one in alone],
            "served": [asdict(one) for one in served],
        },
        remarks=(
            "Milliseconds, tokenization included. Waited: from asking the queue to the decision. CPU: of the "
            "router's thread, which other processes do not lengthen by making it wait. Texts: random words.",
            f"Embedder {embedder}; {len(os.sched_getaffinity(0))} cores for this process; load average "
            f"{os.getloadavg()[0]:.1f} at the end.",
        ),
        sections=_served_sections(served),
    )


def _ratios(one: Served) -> tuple[float, float]:
    return one.loaded.p50 / (one.rest.p50 or math.nan), one.loaded.p99 / (one.rest.p99 or math.nan)


def _served_sections(served: Sequence[Served]) -> tuple[Section, ...]:
    if not served:
        return ()
    rows = tuple(
        (str(one.tokens), *one.rest.texts(), *one.loaded.texts(),
         *(f"{ratio:.2f}" for ratio in _ratios(one)))
        for one in served
    )  # fmt: skip
    names = [f"{what} {name}" for what in ("rest", "load") for name in ("p50", "p90", "p99")]
    remark = (
        f"`{HISTOGRAM}` of the server's own metrics, quantiles interpolated within its buckets: conversation "
        f"and queue included. {served[0].decisions} decisions a row. At rest, {IDLE_S:g} s lie between two "
        f"requests; under load {STREAMS} streams decoded {served[0].tokens_per_s:.0f} tokens/s meanwhile."
    )
    return (Section("Inside the server", ("tokens", *names, "p50 ratio", "p99 ratio"), rows, (remark,)),)
