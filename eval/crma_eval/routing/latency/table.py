"""The grid of measurements: length, cold or cached, callers at a time; and sets of real questions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crma_eval.routing.latency.texts import fresh_texts
from crma_eval.routing.latency.timing import WARMUP, Timing, time_decisions
from crma_router.batching import BatchRouter

LENGTHS = (8, 32, 128, 512)
CALLERS = (1, 8)
COLD, CACHED = "cold", "cached"


@dataclass(frozen=True)
class Cell:
    """One setting: tokens of the text, whether it was asked before, callers at a time."""

    tokens: int
    memory: str
    callers: int


@dataclass(frozen=True)
class AskedSet:
    """Questions as people ask them, each once; by_words: the share that was asked before."""

    name: str
    by_words: float
    timing: Timing


@dataclass(frozen=True)
class Measured:
    cell: Cell
    timing: Timing


def measure_table(
    router: BatchRouter, decisions: int, seed: int, done: Callable[[], None] = lambda: None
) -> list[Measured]:
    """Every cell on texts of its own; the cached ones repeat the cold ones before them. `done` after each."""
    time_decisions(router, fresh_texts(LENGTHS[0], WARMUP, seed - 1), 1)
    found = []
    for at, (tokens, callers) in enumerate((tokens, callers) for tokens in LENGTHS for callers in CALLERS):
        texts = fresh_texts(tokens, decisions, seed + at * 1000)
        for memory in (COLD, CACHED):
            found.append(Measured(Cell(tokens, memory, callers), time_decisions(router, texts, callers)))
            done()
    return found


def measure_sets(
    router: BatchRouter,
    sets: Mapping[str, Sequence[str]],
    decisions: int,
    done: Callable[[], None] = lambda: None,
) -> list[AskedSet]:
    """The first `decisions` texts of each set, one caller, nothing asked before; `done` after each."""
    found = []
    for name, texts in sets.items():
        timing = time_decisions(router, texts[:decisions], 1)
        found.append(AskedSet(name, timing.known / timing.decisions, timing))
        done()
    return found


def cells() -> Sequence[Cell]:
    """All of them, in the order they are measured."""
    return [
        Cell(tokens, memory, callers)
        for tokens in LENGTHS
        for callers in CALLERS
        for memory in (COLD, CACHED)
    ]
