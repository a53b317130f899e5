"""What one measurement is asked to do, and what it found."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crma_adapters.io.durable import write_durably


@dataclass(frozen=True)
class Turn:
    """One system under one load. `models`: what each request names, in order of sending.

    `prompts`: as many questions, or how many tokens long the client's own random ones are to be.
    """

    repeat: int
    system: str
    server: str
    concurrency: int
    output_tokens: int
    models: tuple[str, ...]
    prompts: tuple[str, ...] | int

    @property
    def key(self) -> str:
        """Its name among all of a run."""
        return f"r{self.repeat}-{self.system}-c{self.concurrency}"


@dataclass(frozen=True)
class Found:
    """What a turn measured. Times in s; `ttft_s` and `itl_s` per request, in order of sending.

    The client counts the first event of a chat stream as the first token; it holds the role alone and comes
    with the token, so the interval after it is left out of `itl_s`. `resident` says of each request whether
    its adapter was in the engine's memory, where that is known. `cpu_s` is of all the server's processes,
    `peak_bytes` the sum of their peaks.
    """

    repeat: int
    system: str
    concurrency: int
    duration_s: float
    output_tokens: int
    ttft_s: tuple[float, ...]
    itl_s: tuple[tuple[float, ...], ...]
    cpu_s: float
    peak_bytes: int
    resident: tuple[bool, ...] | None = None

    @property
    def tokens_per_s(self) -> float:
        return self.output_tokens / self.duration_s

    @property
    def tokens_per_cpu_s(self) -> float:
        return self.output_tokens / self.cpu_s if self.cpu_s else float("nan")

    def ttft_percentile(self, percent: float, *, resident: bool | None = None) -> float:
        """In s; `resident` True or False: of those requests alone. NaN if there is none."""
        return percentile([ttft for _, ttft in self._chosen(self.ttft_s, resident)], percent)

    def itl_percentile(self, percent: float, *, resident: bool | None = None) -> float:
        """In s, over all intervals of all requests; else as `ttft_percentile`."""
        return percentile([s for _, row in self._chosen(self.itl_s, resident) for s in row], percent)

    def _chosen(self, values: Sequence[Any], resident: bool | None) -> list[tuple[int, Any]]:
        known = self.resident or (True,) * len(values)
        return [(i, v) for i, v in enumerate(values) if resident is None or known[i] == resident]


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the nearest; NaN of nothing."""
    return float(np.percentile(values, percent)) if values else float("nan")


Measure = Callable[[Turn], Found]


class Journal:
    """What was measured, one file a turn, so that a stopped run goes on where it was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, turn: Turn, found: Found) -> None:
        data = json.dumps(dataclasses.asdict(found)).encode()
        write_durably(self._folder, self._folder / f"{turn.key}.json", data)

    def read(self, turn: Turn) -> Found | None:
        """What `turn` found, or None if it has not been measured, or its file is damaged."""
        try:
            row = json.loads((self._folder / f"{turn.key}.json").read_text(encoding="utf-8"))
            resident = row.pop("resident")
            itl_s = tuple(tuple(intervals) for intervals in row.pop("itl_s"))
            ttft_s = tuple(row.pop("ttft_s"))
            return Found(
                **row, ttft_s=ttft_s, itl_s=itl_s, resident=None if resident is None else tuple(resident)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
