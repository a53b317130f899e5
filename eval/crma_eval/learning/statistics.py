"""What one run says about forgetting and transfer: the field's figures from its losses and accuracies.

Stages and domains are counted from 0; T is their number. `L[i][j]` (loss, nats per answer token) and
`R[i][j]` (accuracy, 0 to 1) are domain j's after stage i. A figure that a run does not have is None: joint
training has no earlier stages, a single domain has none before it, or no short answers were scored.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from crma_adapters.errors import ConfigError
from crma_eval.learning.scores import MethodRun

Row = tuple[float, ...]


@dataclass(frozen=True)
class Drift:
    """The design's drift: one entry per domain but the last, which nothing follows.

    Attributes:
        nats: `L[T-1][j] - L[j][j]`; positive is forgetting.
        relative: the same over `L[j][j]`.
    """

    nats: Row
    relative: Row

    @property
    def mean(self) -> float:
        """Mean of `relative` over the earlier domains: the run's drift."""
        return _mean(self.relative)


@dataclass(frozen=True)
class RunStatistics:
    """One method, one seed.

    Attributes:
        final_loss: mean over domains of `L[T-1][j]` (AP in losses).
        average_accuracy: AP, mean over domains of `R[T-1][j]` (Lopez-Paz & Ranzato 2017, their ACC).
        backward_transfer: BWT, see `backward_transfer`; `forgetting`, `forward_transfer` likewise.
        forward_transfer_loss: FWT in losses, nats per token, positive is help.
    """

    method: str
    seed: int
    drift: Drift | None
    learnt_loss: float | None
    final_loss: float
    average_accuracy: float | None
    backward_transfer: float | None
    forgetting: float | None
    forward_transfer: float | None
    forward_transfer_loss: float | None


@dataclass(frozen=True)
class LearningAdvantage:
    """How much better each domain is learnt than by another method with the same seed; positive is better.

    Attributes:
        nats: mean over domains of `L_other[j][j] - L[j][j]`.
        relative: mean over domains of the same over `L_other[j][j]`.
    """

    nats: float
    relative: float


def run_statistics(run: MethodRun) -> RunStatistics:
    """Every figure of one run."""
    losses, accuracies = loss_matrix(run), accuracy_matrix(run)
    learnt = diagonal(losses)
    return RunStatistics(
        method=run.method,
        seed=run.seed,
        drift=drift(losses),
        learnt_loss=None if learnt is None else _mean(learnt),
        final_loss=_mean(losses[-1]),
        average_accuracy=None if accuracies is None else _mean(accuracies[-1]),
        backward_transfer=None if accuracies is None else backward_transfer(accuracies),
        forgetting=None if accuracies is None else forgetting(accuracies),
        forward_transfer=_forward_accuracy(run, accuracies),
        forward_transfer_loss=_negative(forward_transfer(losses, [domain.loss for domain in run.base])),
    )


def loss_matrix(run: MethodRun) -> tuple[Row, ...]:
    """`L`, (T, T); a missing stage stays `()`."""
    return tuple(tuple(domain.loss for domain in stage) for stage in run.matrix)


def accuracy_matrix(run: MethodRun) -> tuple[Row, ...] | None:
    """`R`, (T, T), or None unless every domain has short answers."""
    rows = tuple(tuple(domain.accuracy for domain in stage) for stage in run.matrix)
    return None if any(math.isnan(value) for row in rows for value in row) else rows


def diagonal(matrix: Sequence[Row]) -> Row | None:
    """Each domain right after it was learnt; None if a stage is missing."""
    return tuple(row[j] for j, row in enumerate(matrix)) if all(matrix) else None


def drift(losses: Sequence[Row]) -> Drift | None:
    """The design's drift of every domain but the last (`docs/training.md`)."""
    learnt = diagonal(losses)
    if learnt is None or len(losses) < 2:
        return None
    pairs = list(zip(learnt[:-1], losses[-1], strict=False))
    return Drift(
        nats=tuple(last - first for first, last in pairs),
        relative=tuple((last - first) / first for first, last in pairs),
    )


def backward_transfer(accuracies: Sequence[Row]) -> float | None:
    """BWT: mean over j < T-1 of `R[T-1][j] - R[j][j]`; negative is forgetting (Lopez-Paz & Ranzato 2017)."""
    learnt = diagonal(accuracies)
    if learnt is None or len(accuracies) < 2:
        return None
    return _mean([last - first for first, last in zip(learnt[:-1], accuracies[-1], strict=False)])


def forgetting(accuracies: Sequence[Row]) -> float | None:
    """Mean over j < T-1 of `max over j <= i < T-1 of R[i][j]`, less `R[T-1][j]` (Chaudhry et al. 2018).

    Their maximum also runs over the stages before j is learnt; here, as is usual, it starts when j is learnt.
    """
    if diagonal(accuracies) is None or len(accuracies) < 2:
        return None
    earlier = accuracies[:-1]
    return _mean([max(row[j] for row in earlier[j:]) - accuracies[-1][j] for j in range(len(earlier))])


def forward_transfer(matrix: Sequence[Row], base: Sequence[float]) -> float | None:
    """FWT: mean over j > 0 of `R[j-1][j] - base[j]` (Lopez-Paz & Ranzato 2017, whose base is at random)."""
    if diagonal(matrix) is None or len(matrix) < 2:
        return None
    return _mean([matrix[j - 1][j] - base[j] for j in range(1, len(matrix))])


def learning_advantage(run: MethodRun, other: MethodRun) -> LearningAdvantage | None:
    """Of `run` over `other`, which must share its seed and domains; None if either lacks a stage.

    Raises:
        ConfigError: the runs are not a pair.
    """
    if (run.seed, run.domains) != (other.seed, other.domains):
        raise ConfigError(
            f"{run.method} (seed {run.seed}, {', '.join(run.domains)}) and {other.method} "
            f"(seed {other.seed}, {', '.join(other.domains)}) are not a pair; "
            "compare runs of one seed and one order of domains"
        )
    own, others = diagonal(loss_matrix(run)), diagonal(loss_matrix(other))
    if own is None or others is None:
        return None
    gains = [theirs - ours for ours, theirs in zip(own, others, strict=True)]
    return LearningAdvantage(
        _mean(gains), _mean([gain / loss for gain, loss in zip(gains, others, strict=True)])
    )


def _forward_accuracy(run: MethodRun, accuracies: Sequence[Row] | None) -> float | None:
    base = [domain.accuracy for domain in run.base]
    if accuracies is None or any(math.isnan(value) for value in base):
        return None
    return forward_transfer(accuracies, base)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
