"""A router's examples in two dimensions, and where a text falls among them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crma_router.classifier.domain_classifier import DomainClassifier, FloatArray, Labels, unpack
from crma_router.encoders.base import Embeddings

MOST_POINTS = 1500
_SAMPLED = 4000  # rows that the directions are found on
_TOTAL_WEIGHT = 0.05


@dataclass(frozen=True, eq=False)
class ExampleMap:
    """The plane in which the classes lie farthest apart.

    mean (D,) and axes (D, 2): a text's place is (vector - mean) @ axes. points (P, 2): those of some
    examples, as many of each class. labels: the domain of each point, None for none.
    """

    mean: FloatArray
    axes: FloatArray
    points: FloatArray
    labels: tuple[str | None, ...]

    @classmethod
    def of(cls, classifier: DomainClassifier) -> "ExampleMap":
        """Directions of the scatter between classes, with a little of all scatter, so that there are two."""
        rows = classifier.rows.at(~classifier.rows.varied)
        classes = [np.flatnonzero(rows.labels == label) for label in range(classifier.classes)]
        each = max(1, _SAMPLED // len(classes))
        vectors = [unpack(rows.packed[_some(own, each)]) for own in classes if len(own)]
        mean = np.mean([one.mean(axis=0) for one in vectors], axis=0)
        means = np.stack([one.mean(axis=0) for one in vectors]) - mean
        every = np.concatenate(vectors) - mean
        scatter = means.T @ means / len(means) + _TOTAL_WEIGHT * (every.T @ every) / len(every)
        _, directions = np.linalg.eigh(scatter.astype(np.float64))
        axes = directions[:, :-3:-1]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)  # same router, same map
        shown = [_some(own, max(1, MOST_POINTS // len(classes))) for own in classes]
        chosen = np.concatenate(shown)
        points = (unpack(rows.packed[chosen]) - mean) @ axes
        names = (*classifier.domains, None)
        labels = tuple(names[label] for label in rows.labels[chosen])
        return cls(_float(mean), _float(axes), _float(points), labels)

    def place(self, vector: Embeddings) -> tuple[float, float]:
        """Where the (D,) `vector` falls."""
        x, y = (vector - self.mean) @ self.axes
        return float(x), float(y)


def _some(rows: Labels, most: int) -> Labels:
    """At most so many, evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _float(values: npt.NDArray[np.floating]) -> FloatArray:
    return np.asarray(values, dtype=np.float32)
