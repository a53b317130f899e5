"""A server under mixed load for a long while: memory, open files, latency, and what failed."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import numpy as np

from crma_adapters.errors import ConfigError
from crma_eval.report import Report
from crma_eval.serving.load.clients import Clients, Row, none, rows_of, verdict
from crma_eval.serving.load.processes import Footprint, footprint, tree_of

TOKENS = 24
WARM_UP = 0.25
"""Caches fill and allocators settle first; trends are taken after this share of the time."""

GOAL_GROWTH = 0.02
GOAL_FILES = 8
GOAL_LATENCY = 2.0
_WINDOW_S = 60.0
_TIMEOUT_S = 300.0
_QUESTIONS = (
    "What are the symptoms of anemia?",
    "What makes a contract legally binding?",
    "How do I reverse a linked list?",
    "What is the difference between a stock and a bond?",
    "Why is the sky blue?",
    "Hello, how are you?",
)


@dataclass(frozen=True)
class Plan:
    """`minutes` of load by `workers` clients; the server's processes are looked at every `sample_s`."""

    minutes: float
    workers: int
    sample_s: float
    seed: int = 0


@dataclass(frozen=True)
class Done:
    """One request: when it ended and how long it took, in seconds of the monotonic clock; what was wrong."""

    kind: str
    end_s: float
    latency_s: float
    fault: str | None


@dataclass(frozen=True)
class Sample:
    """What the server held at a time, in seconds of the monotonic clock."""

    at_s: float
    held: Footprint


class MixedLoad:
    """One kind of request after another: streams, answers, clients that leave, what is refused, reads."""

    def __init__(self, client: httpx.AsyncClient, models: Sequence[str]) -> None:
        """`models` are names to ask beside `auto`."""
        self._client = client
        self._names = ("auto", *models)
        self._kinds: list[tuple[str, Callable[[int], Awaitable[str | None]]]] = [
            ("stream", self._stream),
            ("answer", self._answer),
            ("leaver", self._leave),
            ("stream", self._stream),
            ("refused", self._refused),
            ("answer", self._answer),
            ("read", self._read),
        ]

    async def ask(self, _: random.Random, number: int) -> Done:
        name, kind = self._kinds[number % len(self._kinds)]
        start_s = time.monotonic()
        try:
            fault = await kind(number)
        except httpx.HTTPError as error:
            fault = f"{type(error).__name__}: {error}"
        end_s = time.monotonic()
        return Done(name, end_s, end_s - start_s, fault)

    def _chat(self, number: int, **more: Any) -> dict[str, Any]:
        content = f"{_QUESTIONS[number % len(_QUESTIONS)]} ({number})"
        return {
            "model": self._names[number % len(self._names)],
            "messages": [{"role": "user", "content": content}],
            "max_tokens": TOKENS,
            "ignore_eos": True,
        } | more

    async def _stream(self, number: int) -> str | None:
        body = self._chat(number, stream=True)
        async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
            lines = [line async for line in reply.aiter_lines() if line.startswith("data: ")]
        if reply.status_code != 200:
            return f"a stream got {reply.status_code}"
        return None if lines and lines[-1] == "data: [DONE]" else "a stream was cut"

    async def _answer(self, number: int) -> str | None:
        reply = await self._client.post("/v1/chat/completions", json=self._chat(number))
        if reply.status_code != 200:
            return f"an answer got {reply.status_code}"
        tokens = reply.json().get("usage", {}).get("completion_tokens")
        return None if tokens == TOKENS else f"an answer has {tokens} tokens, not {TOKENS}"

    async def _leave(self, number: int) -> str | None:
        """Leaves a long answer after its first event."""
        body = self._chat(number, stream=True, max_tokens=40 * TOKENS)
        async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
            if reply.status_code != 200:
                return f"a leaver got {reply.status_code}"
            async for line in reply.aiter_lines():
                return None if line.startswith("data: ") else "a leaver saw no event"
        return "a leaver saw no event"

    async def _refused(self, number: int) -> str | None:
        """A name nobody has, or messages that are none."""
        body = {"model": "nobody", "messages": []} if number % 2 else {"model": "auto", "messages": "none"}
        status = (await self._client.post("/v1/chat/completions", json=body)).status_code
        return None if 400 <= status < 500 else f"a bad request got {status}"

    async def _read(self, number: int) -> str | None:
        path = "/v1/models" if number % 2 else "/metrics"
        status = (await self._client.get(path)).status_code
        return None if status == 200 else f"GET {path} got {status}"


def soak(
    plan: Plan, url: str, headers: Mapping[str, str], pid: int, looked: Callable[[], None] = lambda: None
) -> tuple[list[Sample], list[Done]]:
    """Load the server at `url`, look at process `pid` and its children; both in the order of time."""
    return asyncio.run(_soak(plan, url, headers, pid, looked))


async def _soak(
    plan: Plan, url: str, headers: Mapping[str, str], pid: int, looked: Callable[[], None]
) -> tuple[list[Sample], list[Done]]:
    samples: list[Sample] = []
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=_TIMEOUT_S, limits=httpx.Limits(max_connections=None),
        trust_env=False,
    ) as client:  # fmt: skip
        clients = Clients(MixedLoad(client, await _models(client)).ask)
        clients.begin(plan.workers, plan.seed)
        try:
            end_s = time.monotonic() + plan.minutes * 60
            while not samples or time.monotonic() < end_s:
                samples.append(Sample(time.monotonic(), await asyncio.to_thread(held_by, pid)))
                looked()
                await asyncio.sleep(plan.sample_s)
        finally:
            await clients.end()
    return samples, sorted(clients.done, key=lambda done: done.end_s)


def held_by(pid: int) -> Footprint:
    """What a process and its children hold. Raises `ConfigError` if there is none."""
    found = footprint(tree_of(pid))
    if not found.processes:
        raise ConfigError(f"process {pid} cannot be looked at: expected one that runs")
    return found


async def _models(client: httpx.AsyncClient) -> list[str]:
    """The aliases a server lists, `auto` and the base model's served name left out."""
    try:
        reply = (await client.get("/v1/models")).raise_for_status()
    except httpx.HTTPError as error:
        raise ConfigError(f"{client.base_url}/v1/models cannot be read: {error}") from error
    return [model["id"] for model in reply.json()["data"] if model.get("root") and "@" not in model["id"]]


@dataclass(frozen=True)
class Figures:
    """`growth` is the fitted change of memory after the warm-up as a share of its mean.

    Latencies are of streams and whole answers, in the first and the last minute. `faults` counts what was
    wrong, by what it was.
    """

    duration_s: float
    requests: int
    memory_mean_bytes: float
    slope_bytes_per_h: float
    growth: float
    files_first: int
    files_last: int
    p99_first_s: float
    p99_last_s: float
    faults: dict[str, int]

    @property
    def reached(self) -> bool:
        return verdict(self.rows()) == "met"

    def rows(self) -> list[Row]:
        """The table."""
        more, slower = self.files_last - self.files_first, GOAL_LATENCY * self.p99_first_s
        return [
            Row("requests", f"{self.requests:,}"),
            none("wrong answers", sum(self.faults.values())),
            Row("resident memory, mean", f"{self.memory_mean_bytes / 2**20:.0f} MiB"),
            Row("its slope", f"{self.slope_bytes_per_h / 2**20:+.1f} MiB/h"),
            Row("its growth while measured", f"{self.growth:+.2%}", f"at most {GOAL_GROWTH:.0%}",
                self.growth <= GOAL_GROWTH),
            Row("open files, first and last", f"{self.files_first}, {self.files_last}",
                f"at most {GOAL_FILES} more", more <= GOAL_FILES),
            Row("p99 of an answer, first minute", f"{self.p99_first_s:.2f} s"),
            Row("p99 of an answer, last minute", f"{self.p99_last_s:.2f} s",
                f"at most {GOAL_LATENCY:g} times", self.p99_last_s <= slower),
        ]  # fmt: skip


def figures_of(samples: Sequence[Sample], done: Sequence[Done]) -> Figures:
    """Figures of a run; samples and requests in the order of time."""
    start_s, end_s = samples[0].at_s, samples[-1].at_s
    settled = [sample for sample in samples if sample.at_s >= start_s + WARM_UP * (end_s - start_s)]
    at_s = np.array([sample.at_s for sample in settled])
    memory_bytes = np.array([sample.held.memory_bytes for sample in settled], dtype=float)
    slope = float(np.polyfit(at_s - at_s[0], memory_bytes, 1)[0]) if len(settled) > 1 else 0.0
    mean = float(memory_bytes.mean())
    window_s = min(_WINDOW_S, (end_s - start_s) / 2)
    return Figures(
        duration_s=end_s - start_s,
        requests=len(done),
        memory_mean_bytes=mean,
        slope_bytes_per_h=slope * 3600,
        growth=slope * float(at_s[-1] - at_s[0]) / mean,
        files_first=_median_files(settled[: max(len(settled) // 4, 1)]),
        files_last=_median_files(settled[-max(len(settled) // 4, 1) :]),
        p99_first_s=_p99(done, start_s, start_s + window_s),
        p99_last_s=_p99(done, end_s - window_s, end_s),
        faults=dict(Counter(one.fault for one in done if one.fault is not None)),
    )


def _median_files(samples: Sequence[Sample]) -> int:
    """Connections come and go with the load, so one look is not enough."""
    return int(np.median([sample.held.files for sample in samples]))


def _p99(done: Sequence[Done], from_s: float, to_s: float) -> float:
    """Of whole answers and streams that ended in between; 0.0 if none did."""
    found = [
        one.latency_s for one in done if one.kind in ("stream", "answer") and from_s <= one.end_s <= to_s
    ]
    return float(np.quantile(found, 0.99)) if found else 0.0


def soak_report(found: Figures, workers: int) -> Report:
    """One row a figure, with its goal."""
    wrong = "; ".join(f"{count} times: {what}" for what, count in sorted(found.faults.items()))
    return Report(
        name="soak",
        title="A server under mixed load for a long while",
        header=("", "goal", "found"),
        rows=rows_of(found.rows()),
        figures=asdict(found) | {"reached": found.reached, "workers": workers},
        remarks=(
            f"{workers} clients asked without pause for {found.duration_s / 60:.1f} minutes: streams and "
            "whole answers, routed and by name, clients that left, bad requests, lists and metrics. Memory "
            "is of all processes of the server together; its trend leaves out the first "
            f"{WARM_UP:.0%} of the time.",
            f"Goal: {verdict(found.rows())}." + (f" Wrong: {wrong}." if wrong else ""),
        ),
    )
