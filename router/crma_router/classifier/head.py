"""The domain classifier's two opinions: logistic regression on a text's vector, and its nearest examples.

A class's logit is what multinomial logistic regression gives it, plus `neighbour_weight` times the mean
cosine of the text's nearest examples of that class (k nearest neighbours on embeddings). On the demo data
the two together have 0.979 macro-F1 where the regression alone has 0.964, and 0.939 near AUROC for 0.911.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crma_router.encoders.base import Embeddings

NEIGHBOURS = 5
"""How many of a class's examples are its nearest, if it has as many."""

MOST_REFERENCES = 8192
"""Examples that a text is compared with, of all classes together: what bounds the time of a decision."""

FloatArray = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Int8Array = npt.NDArray[np.int8]


def pack(embeddings: Embeddings) -> Int8Array:
    """(N, D) unit vectors as int8, a shared scale left out: it is found again by their unit norm."""
    most = np.abs(embeddings).max(axis=1, keepdims=True)
    return np.asarray(np.rint(embeddings / np.maximum(most, 1e-12) * 127), dtype=np.int8)


def unpack(packed: Int8Array) -> Embeddings:
    """The unit vectors that `pack` was given, within half a step of 127."""
    vectors = packed.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


def digest_of(text: str) -> int:
    """63 bits by which a row's text is found again, without being kept beside it."""
    return (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1
    )


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """What a router was fitted on, as vectors: it is compared with texts, and fitted again without encoding.

    packed (N, D) int8; labels (N,) int64 in the order of the classes, ascending; originals (N,): which
    question a row is or is a variant of; varied (N,): which rows are variants; digests (N,) int64: of the
    question's text.
    """

    packed: Int8Array
    labels: Labels
    originals: Labels
    varied: npt.NDArray[np.bool_]
    digests: Labels

    def at(self, chosen: npt.NDArray[Any]) -> "TrainingRows":
        """Those rows alone, by index or mask."""
        parts = (self.packed, self.labels, self.originals, self.varied, self.digests)
        return TrainingRows(*(part[chosen] for part in parts))

    def references(self, classes: int) -> tuple[Embeddings, Labels]:
        """The vectors and labels that texts are compared with: as many of each class, originals first."""
        most = max(1, MOST_REFERENCES // max(classes, 1))
        chosen = []
        for label in range(classes):
            own = np.flatnonzero(self.labels == label)
            originals, variants = own[~self.varied[own]], own[self.varied[own]]
            some = originals[_spread(len(originals), most)]
            chosen += [some, variants[_spread(len(variants), most - len(some))]]
        rows = np.concatenate(chosen)
        return unpack(self.packed[rows]), self.labels[rows]


def _spread(count: int, most: int) -> Labels:
    """`most` of `count` rows, evenly."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


@dataclass(frozen=True, eq=False)
class References:
    """vectors (R, D) sorted by class; starts (C + 1,): where each class's rows begin and end."""

    vectors: Embeddings
    starts: Labels

    @classmethod
    def of(cls, vectors: Embeddings, labels: Labels, classes: int) -> "References":
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], np.arange(classes + 1))
        return cls(np.ascontiguousarray(vectors[order]), starts)

    def closeness(self, embeddings: Embeddings) -> FloatArray:
        """(N, D) -> (N, C): the mean cosine of the nearest examples of each class; 0 for a class without
        any."""
        cosines = embeddings @ self.vectors.T
        means = np.zeros((len(embeddings), len(self.starts) - 1), np.float32)
        for label, (start, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            nearest = min(NEIGHBOURS, int(end - start))
            if nearest:
                own = cosines[:, start:end]
                means[:, label] = np.partition(own, -nearest, axis=1)[:, -nearest:].mean(axis=1)
        return means


@dataclass(frozen=True, eq=False)
class LinearHead:
    """C classes: the K domains and, where `has_none`, a last one for texts that belong to none of them.

    weight (C, D) and bias (C,) float32.
    """

    weight: FloatArray
    bias: FloatArray
    has_none: bool

    @property
    def size(self) -> int:
        """D: the dimensions of the embeddings that it reads."""
        return int(self.weight.shape[1])

    def logits(self, embeddings: Embeddings) -> FloatArray:
        """(N, D) -> (N, C)"""
        return np.asarray(embeddings @ self.weight.T + self.bias, dtype=np.float32)


def softmax(logits: FloatArray) -> FloatArray:
    """Over the last axis, without overflow."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), dtype=np.float32)
