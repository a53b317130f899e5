"""What the words of a text say by themselves, followed where they are sure.

Owns: when the words alone decide, and how sure they must be for that. Knows nothing of how words become
vectors or how a judge is fitted.

A cascade (Alpaydin and Kaynak 1998, Cascading classifiers): a cheap classifier decides the clear cases, a
costly one the others. Here both read the same embedding, the first only the part of it that costs no encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crma_router.classifier.domain_classifier import Judge
from crma_router.encoders.sentence_transformers import Embeddings
from crma_router.policy import Evidence

SURE_FROM = (0.9, 0.95, 0.98, 0.99, 0.995)
"""Confidences from which the words alone may decide; the least that keeps to the two bounds is taken."""

MORE_ASTRAY = 0.001
MORE_LET_IN = 0.01
"""How many more held-out questions, as shares, the words alone may send to a wrong domain, and to a domain
though they are of none, than the whole embedding would."""


FEWEST_OUTSIDE = 100
"""Out-of-domain questions that it takes to see one in a hundred."""


@dataclass(frozen=True)
class FirstReading:
    """`judge` reads the words alone; what it says counts from the confidence `sure_from` on, 0 to 1."""

    judge: Judge
    sure_from: float

    def evidence(self, words: Embeddings, threshold: float) -> list[Evidence | None]:
        """Of each of (N, W), None where the words do not decide; distances beside the whole's `threshold`."""
        return [self.followed(one, threshold) for one in self.judge.evidence(words)]

    def followed(self, evidence: Evidence, threshold: float) -> Evidence | None:
        """The same of what `judge` says of one text."""
        if not decides(evidence, self.sure_from):
            return None
        distance = evidence.ood_distance - evidence.ood_threshold + threshold
        return replace(evidence, ood_distance=distance, ood_threshold=threshold, by_words=True)


def decides(evidence: Evidence, sure_from: float) -> bool:
    """Whether the words say enough: inside, and sure of the domain."""
    inside = evidence.ood_distance <= evidence.ood_threshold
    return inside and max(evidence.scores.values()) >= sure_from


def least_sure(
    words: Sequence[Evidence], whole: Sequence[str | None], wanted: Sequence[str | None]
) -> float | None:
    """From which confidence on the words may decide, as held-out rows tell; None: never.

    words: what they say of each row. whole: where the whole embedding sends it. wanted: where it belongs.
    """
    leaders = [max(one.scores, key=one.scores.__getitem__) for one in words]
    astray = np.array([a != c and c is not None for a, c in zip(leaders, wanted, strict=True)], int)
    astray -= [b not in (c, None) and c is not None for b, c in zip(whole, wanted, strict=True)]
    let_in = np.array([b is None and c is None for b, c in zip(whole, wanted, strict=True)], int)
    outside = sum(one is None for one in wanted)
    if outside < FEWEST_OUTSIDE:
        return None  # too little shows what the words would let in
    for least in SURE_FROM:
        sure = np.array([decides(one, least) for one in words])
        if not sure.any():
            return None
        if (
            astray[sure].sum() <= MORE_ASTRAY * (len(words) - outside)
            and let_in[sure].sum() <= MORE_LET_IN * outside
        ):
            return least
    return None
