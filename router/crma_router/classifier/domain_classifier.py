"""From embeddings to what is known of a text: which domain, and whether any."""

from dataclasses import dataclass, field

import numpy as np

from crma_router.classifier.head import FloatArray, LinearHead, References, TrainingRows, softmax
from crma_router.classifier.ood import OODDetector
from crma_router.encoders.base import Embeddings
from crma_router.policy import ClassifierOutput


@dataclass(frozen=True, eq=False)
class DomainClassifier:
    """A fitted classifier; `domains` is in the order of its classes, `rows` are what it was fitted on.

    temperature > 0 divides the logits of the domains: Guo et al. 2017, arXiv 1706.04599.
    """

    domains: tuple[str, ...]
    head: LinearHead
    rows: TrainingRows
    neighbour_weight: float
    temperature: float
    ood: OODDetector
    _references: References = field(init=False, repr=False)

    def __post_init__(self) -> None:
        vectors, labels = self.rows.references(self.classes)
        object.__setattr__(self, "_references", References.of(vectors, labels, self.classes))

    @property
    def classes(self) -> int:
        return len(self.domains) + self.head.has_none

    def logits(self, embeddings: Embeddings) -> tuple[FloatArray, FloatArray]:
        """(N, D) -> the logits (N, C), before the temperature, and the closeness (N, C) that is in them."""
        closeness = self._references.closeness(embeddings)
        return self.head.logits(embeddings) + np.float32(self.neighbour_weight) * closeness, closeness

    def outputs(self, embeddings: Embeddings) -> list[ClassifierOutput]:
        """What is known of each of the (N, D) embeddings."""
        if not len(embeddings):
            return []
        logits, closeness = self.logits(embeddings)
        return self.weigh(logits, self.ood.distance(logits, closeness))

    def weigh(self, logits: FloatArray, distances: FloatArray) -> list[ClassifierOutput]:
        """The same from logits (N, C) and out-of-domain distances (N,)."""
        scores = softmax(logits[:, : len(self.domains)] / np.float32(self.temperature))
        return [
            ClassifierOutput(
                dict(zip(self.domains, map(float, row), strict=True)), float(distance), self.ood.threshold
            )
            for row, distance in zip(scores, distances, strict=True)
        ]
