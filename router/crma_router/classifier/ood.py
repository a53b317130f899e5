"""Whether a text belongs to none of the domains.

The classifier's log-odds of "none of them" see what is like the out-of-domain examples; the distance to
the nearest examples of any domain sees what is unlike everything known (deep nearest neighbours, Sun et
al. 2022, arXiv 2204.06507). With few out-of-domain examples the mean of both counts, with many the
log-odds alone, without any the distance alone.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from crma_adapters.io.document import STRICT, Finite
from crma_router.classifier.head import FloatArray

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
