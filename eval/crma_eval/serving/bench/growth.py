"""A curve's costs, relative to its first point, and where it bends."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from crma_eval.serving.bench.curves import FIRST, Curve, point_key
from crma_eval.serving.bench.ratios import Cells
from crma_eval.serving.bench.turn import Found

FLAT = 1.10
NO_BEND = 0.1


@dataclass(frozen=True)
class Point:
    """`cost_ms`: median over repeats. `relative`: to the first point of the curve in the same repeat."""

    x: int
    cost_ms: float
    relative: tuple[float, ...]

    @property
    def growth(self) -> float:
        return statistics.median(self.relative)


@dataclass(frozen=True)
class Bend:
    """From `x` on, cost grows as the `after`-th power, before it as the `before`-th."""

    x: int
    before: float
    after: float


def points_of(curve: Curve, cells: Cells) -> tuple[Point, ...]:
    """Of the repeats that have the curve's first point; points nobody measured are left out."""
    made = []
    repeats = sorted({repeat for repeat, _, _ in cells})
    by = {(repeat, system): found for (repeat, system, _), found in cells.items()}
    for x in curve.points:
        pairs = [
            (_cost_ms(curve, there), _cost_ms(curve, first))
            for repeat in repeats
            if (there := by.get((repeat, point_key(curve.key, x)))) is not None
            and (first := by.get((repeat, point_key(curve.key, curve.points[0])))) is not None
        ]
        if pairs:
            costs = [cost for cost, _ in pairs]
            made.append(Point(x, statistics.median(costs), tuple(cost / first for cost, first in pairs)))
    return tuple(made)


def _cost_ms(curve: Curve, found: Found) -> float:
    return 1000 * found.ttft_percentile(50) if curve.cost == FIRST else 1000 / found.tokens_per_s


def flat_until(points: Sequence[Point]) -> int:
    """The last point before the first that costs over 10 % more than the curve's first."""
    last = points[0].x
    for point in points:
        if point.growth > FLAT:
            break
        last = point.x
    return last


def bend_of(points: Sequence[Point]) -> Bend | None:
    """Where the exponent of growth rises most; None for under three points or if it rises by under 0.1."""
    pairs = list(itertools.pairwise(points))
    exponents = [math.log(b.growth / a.growth) / math.log(b.x / a.x) for a, b in pairs]
    bends = [
        Bend(points[place].x, exponents[place - 1], exponents[place]) for place in range(1, len(exponents))
    ]
    found = max(bends, key=lambda bend: bend.after - bend.before, default=None)
    return None if found is None or found.after - found.before < NO_BEND else found


def in_words(points: Sequence[Point]) -> str:
    """What the curve does."""
    flat, bend = flat_until(points), bend_of(points)
    if flat == points[-1].x:
        return f"Flat: nowhere over 10 % above the first point, up to {flat:,}."
    last = points[-1]
    start = f"Within 10 % of the first point up to {flat:,}, {last.growth:.2f} times it at {last.x:,}."
    if bend is None:
        return f"{start} No bend: the exponent of growth rises nowhere by {NO_BEND} or more."
    return (
        f"{start} It bends at {bend.x:,}: cost grows as the power {bend.before:.2f} of what is varied before "
        f"it and {bend.after:.2f} after it."
    )
