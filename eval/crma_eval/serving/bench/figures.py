"""What turns add up to: a system under one load, and what a cold adapter costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from crma_eval.serving.bench.turn import Found, percentile


@dataclass(frozen=True)
class Line:
    """One system under one load, over all repeats. Times in ms."""

    system: str
    concurrency: int
    requests: int
    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    itl_p50_ms: float
    itl_p99_ms: float
    cpu_ms_per_token: float
    peak_mib: float


def line_of(turns: Sequence[Found]) -> Line:
    """Throughput is over all repeats together, percentiles over all of their requests."""
    ttft = [value for turn in turns for value in turn.ttft_s]
    itl = [value for turn in turns for row in turn.itl_s for value in row]
    tokens = sum(turn.output_tokens for turn in turns)
    return Line(
        turns[0].system,
        turns[0].concurrency,
        len(ttft),
        tokens / sum(turn.duration_s for turn in turns),
        1000 * percentile(ttft, 50),
        1000 * percentile(ttft, 99),
        1000 * percentile(itl, 50),
        1000 * percentile(itl, 99),
        1000 * sum(turn.cpu_s for turn in turns) / tokens,
        max(turn.peak_bytes for turn in turns) / 2**20,
    )


@dataclass(frozen=True)
class Cold:
    """What a request waits whose adapter is not in memory, against those whose is. Median TTFT in ms."""

    concurrency: int
    resident: int
    cold: int
    resident_ms: float
    cold_ms: float


def cold_of(found: Sequence[Found]) -> list[Cold]:
    """By concurrency, from the turns in which residency was followed."""
    followed = [turn for turn in found if turn.resident is not None]
    made = []
    for at in sorted({turn.concurrency for turn in followed}):
        by: dict[bool, list[float]] = {True: [], False: []}
        for turn in followed:
            if turn.concurrency == at:
                for known, ttft in zip(turn.resident or (), turn.ttft_s, strict=True):
                    by[known].append(1000 * ttft)
        made.append(
            Cold(at, len(by[True]), len(by[False]), percentile(by[True], 50), percentile(by[False], 50))
        )
    return made
