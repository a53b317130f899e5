"""The two opinions of the classifier, by hand."""

import numpy as np
import pytest

from crma_router.classifier.head import LinearHead, References, TrainingRows, pack, softmax

UNIT = np.eye(4, dtype=np.float32)


def test_regression_is_a_plane_for_each_class() -> None:
    head = LinearHead(np.array([[1, 2], [3, 4]], np.float32), np.array([10, 20], np.float32), has_none=False)
    np.testing.assert_allclose(head.logits(np.array([[1, 1]], np.float32)), [[13, 27]])
    assert head.size == 2


def test_closeness_is_the_mean_cosine_of_the_nearest_of_each_class() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    references = References.of(vectors, np.array([1, 0, 1]), classes=3)
    np.testing.assert_allclose(
        references.closeness(np.array([[1, 0]], np.float32)), [[0, (1 + 0.6) / 2, 0]], atol=1e-6
    )


def test_of_many_examples_the_originals_are_compared_with_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crma_router.classifier.head.MOST_REFERENCES", 4)
    labels, varied = np.array([0, 0, 0, 1]), np.array([True, False, False, False])
    rows = TrainingRows(pack(UNIT), labels, np.arange(4), varied, np.arange(4))
    vectors, chosen = rows.references(2)
    assert chosen.tolist() == [0, 0, 1]
    np.testing.assert_allclose(vectors[:2], UNIT[1:3])  # the varied one is left out


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0]], np.float32)), [[0.5, 0.5]])
