"""The classifier's two opinions and the out-of-domain distance, by hand."""

import numpy as np
import pytest

from crma_router.classifier.domain_classifier import (
    LinearHead,
    OODDetector,
    References,
    Standard,
    TrainingRows,
    none_log_odds,
    pack,
    softmax,
)

UNIT = np.eye(4, dtype=np.float32)


def test_regression_is_a_plane_for_each_class() -> None:
    head = LinearHead(np.array([[1, 2], [3, 4]], np.float32), np.array([10, 20], np.float32), has_none=False)
    np.testing.assert_allclose(head.logits(np.array([[1, 1]], np.float32)), [[13, 27]])
    assert head.size == 2


def test_closeness_is_the_mean_cosine_of_the_nearest_of_each_class() -> None:
    vectors = np.array([[[0, 1], [0, 0]], [[1, 0], [0.6, 0.8]], [[0, 0], [0, 0]]], np.float32)
    references = References(vectors, np.array([1, 2, 0]))
    texts = np.array([[1, 0], [0, -1]], np.float32)
    np.testing.assert_allclose(
        references.closeness(texts), [[0, (1 + 0.6) / 2, 0], [-1, (0 - 0.8) / 2, 0]], atol=1e-6
    )


def test_only_the_nearest_examples_count() -> None:
    vectors = np.zeros((1, 9, 2), np.float32)
    vectors[0, :, 0] = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5]
    references = References(vectors, np.array([9]))
    assert references.closeness(np.array([[1, 0]], np.float32))[0, 0] == pytest.approx(0.7)


def test_of_many_examples_the_originals_are_compared_with_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crma_router.classifier.domain_classifier.MOST_REFERENCES", 4)
    monkeypatch.setattr("crma_router.classifier.domain_classifier.NEIGHBOURS", 1)
    labels, varied = np.array([0, 0, 0, 1]), np.array([True, False, False, False])
    rows = TrainingRows(pack(UNIT), labels, np.arange(4), varied, np.arange(4))
    references = rows.references(2)
    assert references.counts.tolist() == [2, 1]
    np.testing.assert_allclose(references.vectors[0], UNIT[1:3])  # the varied one is left out
    np.testing.assert_allclose(references.vectors[1], [UNIT[3], np.zeros(4)])


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0]], np.float32)), [[0.5, 0.5]])


LOGITS = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, -5.0]], np.float32)
CLOSENESS = np.array([[0.2, 0.4, 0.9], [0.9, 0.1, 0.0]], np.float32)


def test_log_odds_are_of_the_last_class_against_the_others() -> None:
    assert none_log_odds(LOGITS)[0] == pytest.approx(-np.log(2))
    assert none_log_odds(LOGITS)[1] == pytest.approx(-5 - np.log(np.exp(5) + 1), abs=1e-5)


def test_one_reading_or_the_mean_of_both() -> None:
    odds, unlike = Standard(0.0, 1.0), Standard(0.5, 0.1)
    alone = OODDetector(None, odds, 0.0).distance(LOGITS, CLOSENESS)
    np.testing.assert_allclose(alone, none_log_odds(LOGITS))
    far = OODDetector(unlike, None, 0.0).distance(LOGITS, CLOSENESS)
    np.testing.assert_allclose(far, [(0.1 - 0.5) / 0.1, (0.1 - 0.5) / 0.1], atol=1e-5)
    both = OODDetector(unlike, odds, 0.0).distance(LOGITS, CLOSENESS)
    np.testing.assert_allclose(both[0], (-np.log(2) + (0.6 - 0.5) / 0.1) / 2, atol=1e-5)
