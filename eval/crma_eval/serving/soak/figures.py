"""What a soak shows: trends of memory and open files, latencies at both ends, what failed.

Owns: the arithmetic and the goals. Knows nothing of processes or requests.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crma_eval.serving.processes import Footprint
from crma_eval.serving.soak.load import Done

# Caches fill and allocators settle first; trends are taken after this share of the time.
WARM_UP = 0.25
GOAL_GROWTH = 0.02
GOAL_FILES = 8
GOAL_LATENCY = 2.0
_WINDOW_S = 60.0


@dataclass(frozen=True)
class Sample:
    """What the server held at a time, in seconds of the monotonic clock."""

    at_s: float
    held: Footprint


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
        return (
            not self.faults
            and self.growth <= GOAL_GROWTH
            and self.files_last - self.files_first <= GOAL_FILES
            and self.p99_last_s <= GOAL_LATENCY * self.p99_first_s
        )


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
