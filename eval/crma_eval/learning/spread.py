"""One figure over several seeds: its mean, its standard deviation, its range."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import stdev
from typing import Any


@dataclass(frozen=True)
class Spread:
    """The values of one figure, in the order of their seeds; at least one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Average over the seeds."""
        return math.fsum(self.values) / len(self.values)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation (n - 1); None with one seed."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def low(self) -> float:
        """The least seed's value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest seed's value."""
        return max(self.values)

    def text(self, unit: str = "", digits: int = 2, scale: float = 1.0, signed: bool = False) -> str:
        """`mean ± sd unit`; without `± sd` for a single seed."""
        sign = "+" if signed else ""
        mean = f"{scale * self.mean:{sign}z.{digits}f}"
        sd = "" if self.deviation is None else f" ± {scale * self.deviation:.{digits}f}"
        return f"{mean}{sd}{unit}"

    def figures(self) -> dict[str, Any]:
        """For the report's JSON."""
        return {
            "mean": self.mean,
            "sd": self.deviation,
            "low": self.low,
            "high": self.high,
            "values": self.values,
        }


def spread(values: Iterable[float | None]) -> Spread | None:
    """None if there is no value, or if a seed lacks it."""
    found = tuple(values)
    present = tuple(value for value in found if value is not None)
    return Spread(present) if present and len(present) == len(found) else None


def disjoint(first: Spread, second: Spread) -> bool | None:
    """Whether the per-seed ranges do not meet; None if either has one seed, so no range."""
    if min(len(first.values), len(second.values)) < 2:
        return None
    return first.low > second.high or second.low > first.high
