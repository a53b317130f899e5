"""Systems against each other: ratios of turns of the same repeat, their spread, and the goals."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crma_eval.serving.bench.turn import Found

Figure = Callable[[Found], float]
Cells = Mapping[tuple[int, str, int], Found]


def _ttft_p99(found: Found) -> float:
    return found.ttft_percentile(99, resident=None if found.resident is None else True)


def _itl_p99(found: Found) -> float:
    return found.itl_percentile(99, resident=None if found.resident is None else True)


# Of requests whose adapter was in memory, where that is known.
FIGURES: dict[str, Figure] = {
    "tokens/s": lambda found: found.tokens_per_s,
    "tokens per CPU s": lambda found: found.tokens_per_cpu_s,
    "TTFT p99": _ttft_p99,
    "ITL p99": _itl_p99,
}


@dataclass(frozen=True)
class Goal:
    """The ratio of `figure`, `system` over `against`, is to be at least (or at most) `bound`."""

    system: str
    against: str
    figure: str
    bound: float
    at_least: bool = True

    def met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def text(self) -> str:
        """For a table."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


GOALS = (
    Goal("b", "a", "tokens/s", 0.98),
    Goal("d", "c", "tokens/s", 0.99),
    Goal("e", "c", "tokens/s", 0.97),
    Goal("f", "a", "tokens/s", 0.85),
    Goal("g", "a", "tokens/s", 0.85),
    Goal("h", "f", "TTFT p99", 1.2, at_least=False),
    Goal("h", "f", "ITL p99", 1.2, at_least=False),
)


@dataclass(frozen=True)
class Ratio:
    """Paired ratios: each of two turns of one repeat. `values` in order of repeats."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def text(self) -> str:
        """For a table."""
        return f"{self.median:.3f} ({min(self.values):.3f} to {max(self.values):.3f})"


@dataclass(frozen=True)
class Verdict:
    """What became of a goal at one concurrency. `certain`: every repeat is on the same side of the bound."""

    goal: Goal
    concurrency: int
    ratio: Ratio

    @property
    def met(self) -> bool:
        return self.goal.met(self.ratio.median)

    @property
    def certain(self) -> bool:
        return len({self.goal.met(value) for value in self.ratio.values}) == 1


def cells_of(found: Sequence[Found]) -> Cells:
    """By repeat, system and concurrency."""
    return {(each.repeat, each.system, each.concurrency): each for each in found}


def paired(cells: Cells, system: str, against: str, concurrency: int, figure: str) -> Ratio | None:
    """`system` over `against`; None if no repeat has both, with a number."""
    values = []
    for repeat, key, at in cells:
        other = cells.get((repeat, against, concurrency))
        if (key, at) == (system, concurrency) and other is not None:
            ratio = FIGURES[figure](cells[repeat, key, at]) / FIGURES[figure](other)
            if math.isfinite(ratio):
                values.append(ratio)
    return Ratio(tuple(values)) if values else None


def concurrencies(cells: Cells) -> list[int]:
    """Those measured, rising."""
    return sorted({at for _, _, at in cells})


def verdicts(cells: Cells) -> list[Verdict]:
    """Every goal at every concurrency at which both of its systems were measured."""
    return [
        Verdict(goal, at, ratio)
        for goal in GOALS
        for at in concurrencies(cells)
        if (ratio := paired(cells, goal.system, goal.against, at, goal.figure)) is not None
    ]
