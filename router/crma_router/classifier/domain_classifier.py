"""From the vector of a text to what is known of it: which domain, and whether any.

A class's logit is what multinomial logistic regression gives it, plus `neighbour_weight` times the mean
cosine of the text's nearest examples of that class (k nearest neighbours on embeddings). On the demo data the
two together have 0.979 macro-F1 where the regression alone has 0.964, and 0.939 near AUROC for 0.911.

Whether a text belongs to none: the log-odds of the class for none see what is like the out-of-domain
examples; the distance to the nearest examples of any domain sees what is unlike everything known (deep
nearest neighbours, Sun et al. 2022, arXiv 2204.06507). With few out-of-domain examples the mean of both
counts, with many the log-odds alone, without any the distance alone.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from crma_adapters.io.document import STRICT, Finite
from crma_router.encoders.base import Embeddings
from crma_router.policy import ClassifierOutput

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

    def references(self, classes: int) -> "References":
        """What texts are compared with: as many rows of each class, originals first."""
        most = max(NEIGHBOURS, MOST_REFERENCES // max(classes, 1))
        chosen = []
        for label in range(classes):
            own = np.flatnonzero(self.labels == label)
            originals, variants = own[~self.varied[own]], own[self.varied[own]]
            some = originals[_spread(len(originals), most)]
            chosen.append(np.concatenate([some, variants[_spread(len(variants), most - len(some))]]))
        counts = np.array([len(rows) for rows in chosen])
        vectors = np.zeros((classes, max(1, int(counts.max(initial=0))), self.packed.shape[1]), np.float32)
        for label, rows in enumerate(chosen):
            vectors[label, : len(rows)] = unpack(self.packed[rows])
        return References(vectors, counts)


def _spread(count: int, most: int) -> Labels:
    """`most` of `count` rows, evenly."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


@dataclass(frozen=True, eq=False)
class References:
    """vectors (C, M, D): examples of each class, zeros after the last; counts (C,): how many there are."""

    vectors: Embeddings
    counts: Labels

    def closeness(self, embeddings: Embeddings) -> FloatArray:
        """(N, D) -> (N, C): the mean cosine of each class's nearest examples; 0 for a class without any."""
        classes, most, size = self.vectors.shape
        cosines = (self.vectors.reshape(-1, size) @ embeddings.T).T.reshape(-1, classes, most)
        cosines[:, np.arange(most) >= self.counts[:, None]] = -np.inf
        nearest = min(NEIGHBOURS, most)
        best = np.partition(cosines, most - nearest, axis=2)[:, :, most - nearest :]
        found = np.isfinite(best)
        sums = np.where(found, best, 0).sum(axis=2)
        return np.asarray(sums / np.maximum(found.sum(axis=2), 1), dtype=np.float32)


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


Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]

ENOUGH_NONE = 500
"""Out-of-domain examples from which the log-odds stand alone."""


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of a reading over held-out texts of the domains."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    mean: Finite
    deviation: Above0

    def of(self, reading: FloatArray) -> FloatArray:
        """In standard deviations from what is usual inside."""
        return np.asarray((reading - np.float32(self.mean)) / np.float32(self.deviation), dtype=np.float32)


@dataclass(frozen=True)
class OODDetector:
    """A text is out of domain when its distance is over `threshold`; there is one reading or there are
    both."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    unlikeness: Standard | None
    log_odds: Standard | None
    threshold: Finite

    def distance(self, logits: FloatArray, closeness: FloatArray) -> FloatArray:
        """Logits and closeness (N, C) -> (N,): deviations beyond the usual, as a mean of the readings."""
        readings = []
        if self.unlikeness is not None:
            domains = closeness[:, :-1] if self.log_odds is not None else closeness
            readings.append(self.unlikeness.of(1 - domains.max(axis=1)))
        if self.log_odds is not None:
            readings.append(self.log_odds.of(none_log_odds(logits)))
        return np.asarray(np.mean(readings, axis=0), dtype=np.float32)


def none_log_odds(logits: FloatArray) -> FloatArray:
    """(N, K + 1) -> (N,): log-odds of the last class, "none of them", against all the others."""
    inside = logits[:, :-1]
    highest = inside.max(axis=1)
    total = highest + np.log(np.exp(inside - highest[:, None]).sum(axis=1))
    return np.asarray(logits[:, -1] - total, dtype=np.float32)


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
        object.__setattr__(self, "_references", self.rows.references(self.classes))

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
