"""The domain classifier: logistic regression on likenesses to prototypes, and the nearest of them.

Owns: the fitted weights and what they give for an embedding. Knows nothing of fitting or policy.

A text is described by how like it is to each of some hundred prototypes, exp(sharpness * (cosine - 1)): a
radial basis function network (Broomhead and Lowe 1988; on unit vectors the Gaussian is a function of the
cosine). It follows domains that are several clusters each, which a plane through the embeddings cannot. To
each class's logit its nearest prototypes add `nearest` times their mean cosine: neighbours hold up better for
texts unlike what was fitted on. The sum of both is the logarithm of the product of two opinions.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crma_router.encoders.sentence_transformers import Embeddings

NEIGHBOURS = 3
"""How many prototypes of a class are its nearest, if it has as many."""

FloatArray = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prototypes:
    """centres (P, D) of unit norm, float32 with the digits of float16; sharpness > 0.

    counts: how many of them are each class's, in the order of the classes; P together. nearest >= 0: what the
    mean cosine of the nearest ones counts; 0 in routers fitted before, whose counts are empty.
    """

    centres: FloatArray
    sharpness: float
    counts: tuple[int, ...] = ()
    nearest: float = 0.0

    def cosines(self, embeddings: Embeddings) -> FloatArray:
        """(N, D) -> (N, P)"""
        return np.asarray(embeddings @ self.centres.T, dtype=np.float32)

    def likeness(self, cosines: FloatArray) -> FloatArray:
        """(N, P) -> (N, P), 1 at a prototype, falling with the angle."""
        return np.asarray(np.exp(np.float32(self.sharpness) * (cosines - 1)), dtype=np.float32)

    def closeness(self, cosines: FloatArray) -> FloatArray:
        """(N, P) -> (N, C): what the nearest prototypes of each class add to its logit."""
        means = np.empty((len(cosines), len(self.counts)), np.float32)
        start = 0
        for label, count in enumerate(self.counts):
            own, nearest = cosines[:, start : start + count], min(NEIGHBOURS, count)
            means[:, label] = np.partition(own, -nearest, axis=1)[:, -nearest:].sum(axis=1) / nearest
            start += count
        return np.asarray(np.float32(self.nearest) * means, dtype=np.float32)


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
        if self.prototypes is None:
            return self._linear(embeddings)
        cosines = self.prototypes.cosines(embeddings)
        logits = self._linear(self.prototypes.likeness(cosines))
        return logits + self.prototypes.closeness(cosines) if self.prototypes.nearest else logits

    def _linear(self, features: FloatArray) -> FloatArray:
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
