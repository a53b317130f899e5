"""What the forgetting protocol measures: one score per row, and the matrix of a method's run with one
seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crma_training.trainer.losses import AnswerScore

RowScore = AnswerScore


@dataclass(frozen=True)
class DomainScores:
    """One domain under one model state: `holdout` rows give the loss, `short_answer` rows the accuracy."""

    holdout: tuple[RowScore, ...]
    short_answer: tuple[RowScore, ...]

    @property
    def loss(self) -> float:
        """Mean over all answer tokens of the holdout rows, nats per token."""
        return sum(row.loss for row in self.holdout) / sum(row.tokens for row in self.holdout)

    @property
    def accuracy(self) -> float:
        """Share of short-answer rows answered exactly, 0 to 1; NaN if there are none."""
        if not self.short_answer:
            return float("nan")
        return sum(row.exact for row in self.short_answer) / len(self.short_answer)


@dataclass(frozen=True)
class MethodRun:
    """One method trained on `domains` in that order with one seed.

    Attributes:
        base: the bare base model on each domain.
        matrix: (T, T), `matrix[i][j]` is domain j after learning domain i; a stage that the method does not
            have (joint training has the last only) is an empty tuple.
    """

    method: str
    seed: int
    domains: tuple[str, ...]
    base: tuple[DomainScores, ...]
    matrix: tuple[tuple[DomainScores, ...], ...]

    @property
    def final(self) -> Sequence[DomainScores]:
        """Every domain after the last stage."""
        return self.matrix[-1]
