"""What routing costs: regret, its uncertainty, and drift with and without the router."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crma_adapters.store.card import AdapterCard
from crma_eval.learning.retention.matrix import RoutedDomain
from crma_eval.learning.scores import DomainScores
from crma_eval.stats import bootstrap_interval

ALL = "all"
Floats = NDArray[np.float64]
SAME_LOSS = 1e-3
"""Relative difference up to which two measurements of the same rows may differ; other rows differ by more."""


@dataclass(frozen=True)
class Regret:
    """One domain, or all rows together. Losses in nats per answer token of the holdout rows.

    Attributes:
        rows: holdout and short-answer rows; right: those sent to their own adapter.
        low, high: 95 % interval of `regret`, rows resampled in pairs.
        lost, gained: short answers that only the oracle, only the routed adapter gave exactly.
    """

    domain: str
    rows: tuple[int, int]
    right: tuple[int, int]
    oracle_loss: float
    routed_loss: float
    low: float
    high: float
    oracle_accuracy: float
    routed_accuracy: float
    lost: int
    gained: int

    @property
    def regret(self) -> float:
        """Routed loss - oracle loss."""
        return self.routed_loss - self.oracle_loss

    @property
    def share(self) -> float:
        """Share of the routed loss that is due to routing; negative where detours helped."""
        return self.regret / self.routed_loss


@dataclass(frozen=True)
class Drift:
    """One adapter's relative change of holdout loss since it was trained: with itself answering all of its
    rows, and with the router choosing. `earlier`: other domains were learnt after it.
    """

    domain: str
    earlier: bool
    trained_loss: float
    oracle: float
    routed: float


def regret(found: RoutedDomain, seed: int = 0) -> Regret:
    """The figures of one domain."""
    counts = len(found.holdout_choices), len(found.short_answer_choices)
    right = (
        sum(choice == found.domain for choice in found.holdout_choices),
        sum(choice == found.domain for choice in found.short_answer_choices),
    )
    return _figures(found.domain, counts, right, found.oracle, found.routed, seed)


def overall(domains: Sequence[RoutedDomain], seed: int = 0) -> Regret:
    """The figures of all rows of all domains together."""
    parts = [regret(domain, seed) for domain in domains]
    return _figures(
        ALL,
        (sum(part.rows[0] for part in parts), sum(part.rows[1] for part in parts)),
        (sum(part.right[0] for part in parts), sum(part.right[1] for part in parts)),
        _joined([domain.oracle for domain in domains]),
        _joined([domain.routed for domain in domains]),
        seed,
    )


def drift(found: RoutedDomain, card: AdapterCard, recorded: float | None) -> Drift | None:
    """Drift of one adapter; None if these are not the rows that its card's loss was measured on.

    The release says what the loss on those rows is now: the card's, changed by the `recorded` drift (None:
    still the backbone that it was trained on).
    """
    then = card.holdout_loss.after
    now = then * (1 + (recorded or 0.0))
    if len(found.holdout_choices) != card.data.rows_holdout:
        return None
    if abs(found.oracle.loss - now) > SAME_LOSS * now:
        return None
    return Drift(
        found.domain, recorded is not None, then, found.oracle.loss / then - 1, found.routed.loss / then - 1
    )


def confusion(found: RoutedDomain) -> Counter[str | None]:
    """How many of the domain's rows went where; None is the backbone alone."""
    return Counter(found.choices)


def _figures(
    domain: str,
    rows: tuple[int, int],
    right: tuple[int, int],
    oracle: DomainScores,
    routed: DomainScores,
    seed: int,
) -> Regret:
    low, high = _interval(oracle, routed, seed)
    pairs = list(zip(oracle.short_answer, routed.short_answer, strict=True))
    return Regret(
        domain=domain,
        rows=rows,
        right=right,
        oracle_loss=oracle.loss,
        routed_loss=routed.loss,
        low=low,
        high=high,
        oracle_accuracy=oracle.accuracy,
        routed_accuracy=routed.accuracy,
        lost=sum(own.exact and not other.exact for own, other in pairs),
        gained=sum(other.exact and not own.exact for own, other in pairs),
    )


def _interval(oracle: DomainScores, routed: DomainScores, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the regret, in nats per token."""
    if not oracle.holdout:
        return math.nan, math.nan
    extra = [r.loss - o.loss for o, r in zip(oracle.holdout, routed.holdout, strict=True)]
    tokens = [row.tokens for row in oracle.holdout]
    return bootstrap_interval(_per_token, extra, tokens, seed=seed)


def _per_token(extra: Floats, tokens: Floats, axis: int) -> Floats:
    return np.asarray(extra.sum(axis=axis) / tokens.sum(axis=axis))


def _joined(scores: Sequence[DomainScores]) -> DomainScores:
    return DomainScores(
        tuple(row for domain in scores for row in domain.holdout),
        tuple(row for domain in scores for row in domain.short_answer),
    )
