"""How far an embedding is from every domain, under one covariance that the domains share.

Owns: class-conditional Mahalanobis distance (Lee et al. 2018, arXiv 1807.03888) with a shrunk covariance
(Ledoit and Wolf 2004), kept as its leading directions and one variance for the rest, as in probabilistic PCA:
a third of the numbers of the full matrix. Knows nothing of thresholds.
"""

from dataclasses import dataclass

import numpy as np

from crma_router.classifier.head import FloatArray, Labels
from crma_router.encoders.sentence_transformers import Embeddings

MOST_DIRECTIONS = 128

_SMALLEST_VARIANCE = 1e-6  # of unit vectors: below it, all examples of every domain are one and the same text


@dataclass(frozen=True, eq=False)
class Mahalanobis:
    """means (K, D); directions (r, D), scaled; precision: 1 / variance of everything outside the directions.

    The inverse covariance is precision * I - directions.T @ directions.
    """

    means: FloatArray
    directions: FloatArray
    precision: float

    def distance(self, embeddings: Embeddings) -> FloatArray:
        """(N, D) -> (N,): squared distance to the nearest of the K means."""
        return np.asarray(np.min([self._distance_to(mean, embeddings) for mean in self.means], axis=0))

    def _distance_to(self, mean: FloatArray, embeddings: Embeddings) -> FloatArray:
        offsets = embeddings - mean
        outside = np.float32(self.precision) * np.square(offsets).sum(axis=1)
        return np.asarray(outside - np.square(offsets @ self.directions.T).sum(axis=1), dtype=np.float32)


def fit_mahalanobis(embeddings: Embeddings, labels: Labels) -> Mahalanobis:
    """Means of the classes 0 ... K-1 and the covariance around them, from (N, D) and (N,)."""
    from sklearn.covariance import ledoit_wolf  # a second's import, which routing does not need

    classes = range(int(labels.max()) + 1)
    means = np.stack([embeddings[labels == index].mean(axis=0, dtype=np.float64) for index in classes])
    covariance, _ = ledoit_wolf(embeddings - means[labels], assume_centered=True)
    variances, directions = np.linalg.eigh(covariance)  # ascending
    variances = np.maximum(variances, _SMALLEST_VARIANCE)
    kept = min(MOST_DIRECTIONS, len(variances) - 1)
    precision = 1.0 / float(variances[:-kept].mean())
    scales = np.sqrt(precision - 1.0 / variances[-kept:])  # no kept variance is below the mean of the rest
    scaled = (directions[:, -kept:] * scales).T
    return Mahalanobis(means.astype(np.float32), scaled.astype(np.float32, order="C"), precision)
