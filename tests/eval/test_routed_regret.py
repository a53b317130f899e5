"""Regret and drift of made-up scores, against figures worked out by hand."""

import dataclasses
import math

import pytest

from crma_adapters.store.card import AdapterCard, CardData, CardLoss, CardTraining
from crma_eval.learning.retention.matrix import RoutedDomain
from crma_eval.learning.retention.regret import confusion, drift, overall, regret
from crma_eval.learning.scores import DomainScores, RowScore


def _scores(losses: list[float], right: list[bool]) -> DomainScores:
    return DomainScores(
        tuple(RowScore(loss, 2, exact=False) for loss in losses),
        tuple(RowScore(0.0, 1, exact) for exact in right),
    )


MEDICAL = RoutedDomain(
    "medical",
    ("medical", "legal"),
    ("medical", None, "legal"),
    oracle=_scores([2.0, 4.0], [True, True, False]),
    routed=_scores([2.0, 6.0], [True, False, True]),
)
LEGAL = RoutedDomain(
    "legal", ("legal",) * 2, (), oracle=_scores([8.0, 2.0], []), routed=_scores([8.0, 2.0], [])
)


def test_regret_of_a_domain() -> None:
    found = regret(MEDICAL)
    assert (found.rows, found.right) == ((2, 3), (1, 1))
    assert (found.oracle_loss, found.routed_loss) == (1.5, 2.0)
    assert found.regret == 0.5 and found.share == 0.25
    assert found.oracle_accuracy == found.routed_accuracy == pytest.approx(2 / 3)
    assert (found.lost, found.gained) == (1, 1)
    assert (found.low, found.high) == (0.0, 1.0)  # two rows: none, one or both resampled


def test_all_rows_are_pooled() -> None:
    found = overall([MEDICAL, LEGAL])
    assert (found.domain, found.rows, found.right) == ("all", (4, 3), (3, 1))
    assert (found.oracle_loss, found.routed_loss) == (2.0, 2.25)
    assert found.low <= found.regret <= found.high


def test_no_short_answers_is_no_accuracy() -> None:
    found = regret(LEGAL)
    assert math.isnan(found.oracle_accuracy) and found.regret == found.low == found.high == 0.0


def test_confusion_counts_all_rows() -> None:
    assert confusion(MEDICAL) == {"medical": 2, "legal": 2, None: 1}


def _card(after: float, rows: int = 2) -> AdapterCard:
    return AdapterCard(
        name="medical",
        base_model="tiny",
        base_fingerprint="ab" * 32,
        backbone=None,
        rank=4,
        alpha=8.0,
        target_modules=("q_proj",),
        data=CardData(rows_train=9, rows_holdout=rows, sources=(), licences=()),
        training=CardTraining(steps=1, epochs=1.0, seed=0, learning_rate=1e-3, tokens=9),
        holdout_loss=CardLoss(base=3.0, before=2.5, after=after),
    )


def test_drift_with_and_without_the_router() -> None:
    found = drift(MEDICAL, _card(after=1.25), recorded=0.2)
    assert found is not None
    assert found.oracle == pytest.approx(0.2) and found.routed == pytest.approx(0.6)
    still = drift(MEDICAL, _card(after=1.5), recorded=None)
    assert still is not None and still.oracle == 0.0
    assert found.earlier and not still.earlier


def test_no_drift_is_told_of_other_rows_than_the_cards() -> None:
    assert drift(MEDICAL, _card(after=1.25, rows=3), recorded=0.2) is None  # a part of them
    assert drift(MEDICAL, _card(after=1.25), recorded=0.21) is None  # as many, but others
    assert drift(dataclasses.replace(MEDICAL), _card(after=1.4), recorded=None) is None
