"""The domain classifier: multinomial logistic regression on likenesses to prototypes, with a temperature.

Owns: the fitted weights and what they give for an embedding. Knows nothing of fitting or policy.

A text is described by how like it is to each of some hundred prototypes, exp(sharpness * (cosine - 1)): a
radial basis function network (Broomhead and Lowe 1988; on unit vectors the Gaussian is a function of the
cosine). It follows domains that are several clusters each, which a plane through the embeddings cannot.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crma_router.embedder import Embeddings

FloatArray = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prototypes:
    """centres (P, D) of unit norm, float32 with the digits of float16; sharpness > 0."""

    centres: FloatArray
    sharpness: float

    def likeness(self, embeddings: Embeddings) -> FloatArray:
        """(N, D) -> (N, P), 1 at a prototype, falling with the angle."""
        cosines = embeddings @ self.centres.T
        return np.asarray(np.exp(np.float32(self.sharpness) * (cosines - 1)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class LinearHead:
    """C classes: the K domains and, where `has_outside`, a last one for texts that belong to none of them.

    weight (C, P) and bias (C,) float32; temperature > 0 divides the logits of the domains. Without prototypes
    the weights (C, D) are of the embedding itself.
    """

    weight: FloatArray
    bias: FloatArray
    temperature: float
    has_outside: bool
    prototypes: Prototypes | None = None

    @property
    def size(self) -> int:
        """D: the dimensions of the embeddings that it reads."""
        return int((self.weight if self.prototypes is None else self.prototypes.centres).shape[1])

    def logits(self, embeddings: Embeddings) -> FloatArray:
        """(N, D) -> (N, C), before the temperature."""
        features = embeddings if self.prototypes is None else self.prototypes.likeness(embeddings)
        return np.asarray(features @ self.weight.T + self.bias, dtype=np.float32)

    def domain_logits(self, logits: FloatArray) -> FloatArray:
        """(N, C) -> (N, K): those of the domains."""
        return logits[:, :-1] if self.has_outside else logits

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """(N, C) -> (N, K): calibrated, of each domain if the text belongs to one; rows sum to 1."""
        return softmax(self.domain_logits(logits) / np.float32(self.temperature))


def outside_log_odds(logits: FloatArray) -> FloatArray:
    """(N, K + 1) -> (N,): log-odds of the last class, "none of them", against all the others."""
    inside = logits[:, :-1]
    highest = inside.max(axis=1)
    total = highest + np.log(np.exp(inside - highest[:, None]).sum(axis=1))
    return np.asarray(logits[:, -1] - total, dtype=np.float32)


def softmax(logits: FloatArray) -> FloatArray:
    """Over the last axis, without overflow."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), dtype=np.float32)
