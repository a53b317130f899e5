"""Whether domains get in each other's way, in sentences."""

import math
from collections import Counter
from collections.abc import Sequence

from crma_router.classifier.model import FitReport
from crma_router.router import Router

TAKEN = 0.3
"""Share of a new domain's examples that another already takes, from which the two overlap."""

LOST = 0.05
"""Share of its own held-out questions that a domain may lose to a change, if chance does not explain it."""

FEWEST_JUDGED = 20
"""Examples from which that share says something."""

FOUND = 0.7
"""Share of a new domain's held-out questions that must reach it."""


def overlaps(before: Router, name: str, examples: Sequence[str], after: FitReport) -> list[str]:
    """Sentences on what is wrong with domain `name` beside the others; empty if nothing is.

    `examples`: the new ones, which `before` has not seen. `after`: the report of the router fitted with them.
    """
    return [*_taken(before, name, examples), *_lost(before.model.report, after), *_not_found(name, after)]


def _taken(before: Router, name: str, examples: Sequence[str]) -> list[str]:
    reached = Counter(decision.domain for decision in before.route_many(list(examples)))
    return [
        f"{count} of {len(examples)} examples of {name} are routed to {other} now"
        for other, count in reached.most_common()
        if other not in (None, name) and count / len(examples) >= TAKEN
    ]


def _lost(before: FitReport, after: FitReport) -> list[str]:
    return [
        f"{other} would keep {after.routed[other]:.0%} of its held-out questions, {share:.0%} now"
        for other, share in before.routed.items()
        if other in after.routed
        and share - after.routed[other]
        > max(LOST, _chance(share, after.routed[other], before.examples[other]))
    ]


def _chance(one: float, other: float, questions: int) -> float:
    """Two standard errors of the difference between two shares of so many questions."""
    mean = (one + other) / 2
    return 2 * math.sqrt(2 * mean * (1 - mean) / questions)


def _not_found(name: str, after: FitReport) -> list[str]:
    share = after.routed[name]
    if after.examples[name] < FEWEST_JUDGED:  # of so few held out one more or less is a tenth
        return []
    return [f"only {share:.0%} of the held-out examples of {name} would reach it"] if share < FOUND else []
