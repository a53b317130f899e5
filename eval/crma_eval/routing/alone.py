"""How long one decision takes by itself: nothing else asked, no text asked before, one thread."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from crma_eval.report import Section
from crma_eval.routing.as_served import TextRouter, decide_text
from crma_eval.stats import percentile

BOUNDS = (16, 64, 256, 512)  # words of a text, up to
_WARM_UP = 5
_QUANTILES = (50, 90, 99)
_WORDS = (
    "In one process, one thread, texts that were not asked before; reading the conversation counts. CPU: of "
    "the process, which the goals are on; what else runs lengthens the clock (load average {load:.1f})."
)


@dataclass(frozen=True)
class Took:
    """One decision, ms: by the clock, and of this process's processor time, which others do not lengthen."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Alone:
    """took: by the bound of the texts' lengths in words. load: the machine's load average meanwhile."""

    took: dict[int, tuple[Took, ...]]
    load: float

    @property
    def every(self) -> tuple[Took, ...]:
        return tuple(one for took in self.took.values() for one in took)

    @property
    def p50(self) -> float:
        """Of the processor time."""
        return percentile([one.cpu for one in self.every], 50)

    @property
    def p99(self) -> float:
        """Of the processor time."""
        return percentile([one.cpu for one in self.every], 99)

    def figures(self) -> dict[str, Any]:
        """For the JSON report."""
        return {"load": round(self.load, 2)} | {
            name: {
                "texts": len(took),
                **{f"wall_p{q}": round(percentile([one.wall for one in took], q), 2) for q in _QUANTILES},
                **{f"cpu_p{q}": round(percentile([one.cpu for one in took], q), 2) for q in _QUANTILES},
            }
            for name, took in self._rows()
        }

    def section(self) -> Section:
        """The table."""
        rows = tuple(
            (
                name,
                str(len(took)),
                *(f"{percentile([one.wall for one in took], q):.1f}" for q in _QUANTILES),
                *(f"{percentile([one.cpu for one in took], q):.1f}" for q in _QUANTILES),
            )
            for name, took in self._rows()
        )
        header = ("words", "texts", "p50", "p90", "p99", "CPU p50", "CPU p90", "CPU p99")
        return Section("A decision alone, ms", header, rows, (_WORDS.format(load=self.load),))

    def _rows(self) -> list[tuple[str, tuple[Took, ...]]]:
        return [*((f"up to {bound}", took) for bound, took in self.took.items()), ("all", self.every)]


def measure_alone(router: TextRouter, texts: Sequence[str], each: int = 100) -> Alone:
    """At most `each` texts of every length. `router` must not have seen them."""
    distinct = list(dict.fromkeys(texts))
    found: dict[int, tuple[Took, ...]] = {}
    with threadpool_limits(1):
        for text in distinct[:_WARM_UP]:
            decide_text(router, f"{text} once more")
        least = 0
        for bound in BOUNDS:
            own = [text for text in distinct if least < len(text.split()) <= bound]
            if own:
                step = max(1, len(own) // each)
                found[bound] = tuple(_time(router, text) for text in own[::step][:each])
            least = bound
    return Alone(found, os.getloadavg()[0])


def _time(router: TextRouter, text: str) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    decide_text(router, text)
    return Took(1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu))
