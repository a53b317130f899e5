"""Oracle and routed scores of made-up domains: which state answers which row."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from crma_adapters.errors import ConfigError
from crma_eval.learning.retention.matrix import Asked, Servers, routed_matrix
from crma_eval.learning.scores import DomainScores, RowScore
from crma_eval.learning.setup import Exam
from crma_router.policy import RoutingDecision
from crma_training.data.tokens import Example
from crma_training.methods.method import Serving

BACKBONE = Path("backbone")
SERVERS = Servers(
    {name: Serving(Path(name), BACKBONE) for name in ("medical", "legal")}, Serving(None, BACKBONE)
)


class WordRouter:
    """Sends a question to the domain named by its first word; anything else falls back."""

    def __init__(self, *domains: str) -> None:
        self.domains = domains

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        found = []
        for text in texts:
            word = text.split()[0]
            domain = word if word in self.domains else None
            path = "routed" if domain else "fallback"
            found.append(RoutingDecision(domain, 0.9, path, "", {}, 0.0, 1.0))  # type: ignore[arg-type]
        return found


def _asked(domain: str, holdout: Sequence[str], short: Sequence[str] = ()) -> Asked:
    exam = Exam(*(tuple(Example.with_answer((hash(q),), 0) for q in part) for part in (holdout, short)))
    return Asked(domain, tuple(holdout), tuple(short), exam)


class Scorer:
    """Gives every row the loss of its state, and notes what it was asked."""

    losses: ClassVar = {"medical": 1.0, "legal": 3.0, None: 2.0}

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, int, int]] = []

    def __call__(self, serving: Serving, exam: Exam) -> DomainScores:
        name = None if serving.adapter is None else serving.adapter.name
        self.calls.append((name, len(exam.holdout), len(exam.short_answer)))
        row = RowScore(self.losses[name], 1, exact=name == "medical")
        return DomainScores((row,) * len(exam.holdout), (row,) * len(exam.short_answer))


def test_only_rows_that_take_another_way_are_measured_again() -> None:
    score, heard = Scorer(), []
    asked = [
        _asked("medical", ["medical a", "legal b", "what c", "medical d"], ["medical e", "legal f"]),
        _asked("legal", ["legal g"], ["legal h"]),
    ]
    found = routed_matrix(
        asked, SERVERS, WordRouter("medical", "legal"), score, lambda *seen: heard.append(seen)
    )
    assert score.calls == [("medical", 4, 2), ("legal", 1, 1), (None, 1, 0), ("legal", 1, 1)]
    assert heard == [(9, 11), (11, 11)]
    medical, legal = found
    assert medical.holdout_choices == ("medical", "legal", None, "medical")
    assert [row.loss for row in medical.oracle.holdout] == [1.0] * 4
    assert [row.loss for row in medical.routed.holdout] == [1.0, 3.0, 2.0, 1.0]
    assert [row.exact for row in medical.routed.short_answer] == [True, False]
    assert medical.regret == pytest.approx(7 / 4 - 1)
    assert legal.routed == legal.oracle and legal.regret == 0


def test_a_router_of_other_domains_is_refused_before_anything_is_measured() -> None:
    score = Scorer()
    with pytest.raises(ConfigError, match=r"'cooking', which nothing serves here \(medical, legal\)"):
        routed_matrix([_asked("medical", ["cooking a"])], SERVERS, WordRouter("cooking"), score)
    assert score.calls == []
