"""Whether a text belongs to none of the domains.

Owns: the out-of-domain distance, which joins two readings of an embedding, and its threshold. Knows nothing
of the names of domains or of what is done with a text outside.

The Mahalanobis distance sees what is unlike everything known; the classifier's log-odds of "none of them" see
what is like the out-of-domain examples. With few or narrow examples their mean does better than either, with
many as well as the better one (figures in docs/router.md). Without any, the first stands alone.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from crma_adapters.document import STRICT, Finite
from crma_router.linear import FloatArray, outside_log_odds
from crma_router.mahalanobis import Mahalanobis

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


@dataclass(frozen=True)
class Outside:
    """A text is outside when its distance is over `threshold`; `log_odds` needs out-of-domain examples."""

    mahalanobis: Mahalanobis
    far: Standard
    log_odds: Standard | None
    threshold: float

    def join(self, distances: FloatArray, logits: FloatArray) -> FloatArray:
        """Mahalanobis distances (N,) and logits (N, C) -> (N,): deviations beyond the usual."""
        far = self.far.of(distances)
        if self.log_odds is None:
            return far
        return np.asarray((far + self.log_odds.of(outside_log_odds(logits))) / 2, dtype=np.float32)
