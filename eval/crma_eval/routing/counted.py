"""Decisions counted: right, sent to a wrong adapter, left to the backbone, each a share with its interval."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crma_eval.stats import interval


@dataclass(frozen=True)
class Decided:
    """wanted, given: a domain, or None for none. place: what was decided, without quoting it."""

    wanted: str | None
    given: str | None
    place: str
    text: str
    confidence: float = 0.0

    @property
    def right(self) -> bool:
        return self.wanted == self.given


@dataclass(frozen=True)
class Counted:
    """Of decisions on questions that all have a domain, or all have none."""

    decided: tuple[Decided, ...]

    @classmethod
    def of(cls, decided: Iterable[Decided]) -> "Counted":
        return cls(tuple(decided))

    @property
    def rows(self) -> int:
        return len(self.decided)

    @cached_property
    def right(self) -> int:
        return sum(one.right for one in self.decided)

    @cached_property
    def wrong(self) -> int:
        """Sent to an adapter that is not theirs."""
        return sum(one.given is not None and not one.right for one in self.decided)

    @property
    def fell_back(self) -> int:
        """Left to the backbone though they have a domain."""
        return sum(one.given is None and one.wanted is not None for one in self.decided)

    @property
    def share(self) -> float:
        return self.right / self.rows if self.rows else 1.0

    def figures(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "rows": self.rows,
            "right": self.right,
            "share": round(self.share, 4),
            "interval": [round(bound, 4) for bound in interval(self.right, self.rows)],
            "wrong_adapter": self.wrong,
            "wrong_share": round(self.wrong / self.rows, 4) if self.rows else 0.0,
            "fell_back": self.fell_back,
        }


def shown(hits: int, rows: int) -> str:
    """Such as `58 of 60, 96.7 % (88.6 to 99.1)`."""
    low, high = interval(hits, rows)
    share = hits / rows if rows else 1.0
    return f"{hits} of {rows}, {100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
