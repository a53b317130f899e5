"""What the router's decisions usually look like (`ReferenceStats`), and how far traffic has drifted from
that."""

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from crma_adapters.io.document import STRICT
from crma_router.policy import RoutingDecision

CONFIDENCE_EDGES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
"""Upper edges of the bins of confidence; a last bin holds what is above."""

WINDOW = 1000
FEWEST = 200
"""Decisions from which an index says something: under 100 chance alone gives 0.1 and more."""

NO_DOMAIN = "none"
_LEAST_SHARE = 1e-3  # a bin nobody fell into would make the index infinite

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class ReferenceStats:
    """Shares of decisions; each sum to 1.

    domains: by domain, `none` the fallback. confidence: by `CONFIDENCE_EDGES`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    domains: dict[str, Share]
    confidence: list[Share]


@dataclass(frozen=True)
class Drift:
    """Population stability indices: up to 0.1 the same, over 0.25 another population, by the usual rule."""

    domains: float
    confidence: float


def reference_stats(decisions: Iterable[RoutingDecision]) -> ReferenceStats:
    """The shares of these decisions, four digits; one at least."""
    given = list(decisions)
    names = [decision.domain or NO_DOMAIN for decision in given]
    bins = [_bin(decision.confidence) for decision in given]
    return ReferenceStats(
        {name: round(names.count(name) / len(names), 4) for name in sorted(set(names))},
        [round(bins.count(at) / len(bins), 4) for at in range(len(CONFIDENCE_EDGES) + 1)],
    )


def stability_index(expected: Sequence[float], observed: Sequence[float]) -> float:
    """Population stability index of two lists of shares: the sum of (o - e) ln(o / e), symmetric, 0 if equal.

    Siddiqi 2006, Credit Risk Scorecards; it is the Jeffreys divergence of the two.
    """
    total = 0.0
    for before, after in zip(expected, observed, strict=True):
        before, after = max(before, _LEAST_SHARE), max(after, _LEAST_SHARE)
        total += (after - before) * math.log(after / before)
    return total


class PSIMonitor:
    """The last `WINDOW` decisions against what was usual in training. Used from one thread."""

    def __init__(self, usual: ReferenceStats, window: int = WINDOW) -> None:
        self._usual = usual
        self._window = window
        self._seen: deque[tuple[str, int]] = deque()
        self._names: Counter[str] = Counter()
        self._bins: Counter[int] = Counter()

    def see(self, decision: RoutingDecision) -> None:
        self._count((decision.domain or NO_DOMAIN, _bin(decision.confidence)), 1)
        if len(self._seen) > self._window:
            self._count(self._seen[0], -1)

    def drift(self) -> Drift | None:
        """None before `FEWEST` decisions."""
        seen = len(self._seen)
        if seen < FEWEST:
            return None
        domains = sorted(self._usual.domains.keys() | self._names.keys())
        bins = range(len(CONFIDENCE_EDGES) + 1)
        return Drift(
            stability_index(
                [self._usual.domains.get(name, 0.0) for name in domains],
                [self._names[name] / seen for name in domains],
            ),
            stability_index(self._usual.confidence, [self._bins[at] / seen for at in bins]),
        )

    def _count(self, what: tuple[str, int], by: int) -> None:
        if by > 0:
            self._seen.append(what)
        else:
            self._seen.popleft()
        self._names[what[0]] += by
        self._bins[what[1]] += by


def _bin(confidence: float) -> int:
    return sum(confidence > edge for edge in CONFIDENCE_EDGES)
