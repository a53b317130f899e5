"""From embeddings to evidence: which domain, and whether any.

Owns: the two fitted parts of a reading and the order in which they are used. Knows nothing of how they were
fitted, of texts or of policy.
"""

from dataclasses import dataclass

from crma_router.classifier.head import FloatArray, LinearHead
from crma_router.classifier.ood import Outside
from crma_router.encoders.sentence_transformers import Embeddings
from crma_router.policy import Evidence


@dataclass(frozen=True)
class Judge:
    """What turns embeddings into evidence; `domains` is in the order of the classifier's classes."""

    domains: tuple[str, ...]
    head: LinearHead
    outside: Outside

    def evidence(self, embeddings: Embeddings) -> list[Evidence]:
        """What is known of each of the (N, D) embeddings."""
        logits = self.head.logits(embeddings)
        return self.weigh(logits, self.outside.distance(embeddings, logits))

    def weigh(self, logits: FloatArray, distances: FloatArray) -> list[Evidence]:
        """The same from logits (N, C) and out-of-domain distances (N,)."""
        scores = self.head.probabilities(logits)
        return [
            Evidence(
                dict(zip(self.domains, map(float, row), strict=True)), float(distance), self.outside.threshold
            )
            for row, distance in zip(scores, distances, strict=True)
        ]
