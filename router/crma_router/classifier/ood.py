"""Whether a text belongs to none of the domains.

Owns: the out-of-domain distance, which joins two readings of an embedding, and its threshold. Knows nothing
of the names of domains or of what is done with a text outside.

The Mahalanobis distance sees what is unlike everything known; the classifier's log-odds of "none of them" see
what is like the out-of-domain examples. With few or narrow examples the mean of both does better than either,
with many the log-odds alone (figures in docs/router.md). Without any, the distance stands alone.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from crma_adapters.io.document import STRICT, Finite
from crma_router.classifier.head import FloatArray, outside_log_odds
from crma_router.classifier.mahalanobis import Mahalanobis
from crma_router.encoders.sentence_transformers import Embeddings

Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of a reading over held-out texts of the domains."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    mean: Finite
    deviation: Above0

    def of(self, reading: FloatArray) -> FloatArray:
        """In standard deviations from what is usual inside."""
        return np.asarray((reading - np.float32(self.mean)) / np.float32(self.deviation), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Unlikeness:
    """The Mahalanobis distance to what is known, in standard deviations from what is usual inside."""

    mahalanobis: Mahalanobis
    usual: Standard

    def of(self, embeddings: Embeddings) -> FloatArray:
        """(N, D) -> (N,)"""
        return self.usual.of(self.mahalanobis.distance(embeddings))


@dataclass(frozen=True, eq=False)
class Outside:
    """A text is outside when its distance is over `threshold`; there is one reading or there are both.

    `log_odds` needs out-of-domain examples.
    """

    unlikeness: Unlikeness | None
    log_odds: Standard | None
    threshold: float

    def distance(self, embeddings: Embeddings, logits: FloatArray) -> FloatArray:
        """Embeddings (N, D) and logits (N, C) -> (N,): deviations beyond the usual, as a mean."""
        return self.join(None if self.unlikeness is None else self.unlikeness.of(embeddings), logits)

    def join(self, unlikeness: FloatArray | None, logits: FloatArray) -> FloatArray:
        """The same where the first reading is known."""
        readings = [] if unlikeness is None else [unlikeness]
        if self.log_odds is not None:
            readings.append(self.log_odds.of(outside_log_odds(logits)))
        return np.asarray(np.mean(readings, axis=0), dtype=np.float32)
