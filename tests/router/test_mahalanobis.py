"""The distance against the full inverse of the covariance."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from crma_router.classifier.mahalanobis import MOST_DIRECTIONS, fit_mahalanobis


def rows(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], count)
    scales = np.linspace(0.2, 2.0, size)
    return (chance.standard_normal((3 * count, size)) * scales + labels[:, None]).astype(np.float32), labels


def test_with_every_direction_kept_it_is_the_textbook_distance() -> None:
    embeddings, labels = rows(count=40, size=6)
    means = np.stack([embeddings[labels == k].mean(axis=0) for k in range(3)])
    covariance, _ = ledoit_wolf(embeddings - means[labels], assume_centered=True)
    offsets = embeddings[:, None, :] - means[None]
    expected = np.einsum("nkd,de,nke->nk", offsets, np.linalg.inv(covariance), offsets).min(axis=1)
    np.testing.assert_allclose(fit_mahalanobis(embeddings, labels).distance(embeddings), expected, rtol=1e-4)


def test_far_texts_are_further_also_where_directions_are_dropped() -> None:
    embeddings, labels = rows(count=100, size=MOST_DIRECTIONS + 40)
    fitted = fit_mahalanobis(embeddings, labels)
    assert fitted.directions.shape == (MOST_DIRECTIONS, MOST_DIRECTIONS + 40)
    near, far = fitted.distance(embeddings), fitted.distance(embeddings + 5)
    assert near.min() > 0
    assert far.min() > near.max()


@pytest.mark.parametrize("examples", [2, 10])
def test_few_or_equal_examples_still_give_finite_distances(examples: int) -> None:
    embeddings = np.tile(np.eye(2, 8, dtype=np.float32), (examples, 1))
    labels = np.tile([0, 1], examples)
    assert np.isfinite(fit_mahalanobis(embeddings, labels).distance(embeddings + 1)).all()
