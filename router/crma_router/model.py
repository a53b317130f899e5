"""Everything a decision depends on but the embedder.

Owns: the parts of a fitted router and the order in which a decision uses them. Knows nothing of how they
were fitted or where they are kept.
"""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from crma_adapters.document import STRICT
from crma_router.embedder import Embeddings
from crma_router.linear import FloatArray, LinearHead
from crma_router.outside import Outside
from crma_router.policy import Evidence, Policy
from crma_router.usual import Usual


@dataclass(frozen=True)
class FitReport:
    """What the router was fitted on, and how it does on folds held out of that.

    routed: the share of each domain's questions that reach it. fallback: the share of out-of-domain questions
    that reach none, None where there are none. Shares of 1, rounded to four digits.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    seed: int
    examples: dict[str, int]
    out_of_domain: int
    routed: dict[str, float]
    fallback: float | None


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


@dataclass(frozen=True)
class RouterModel:
    """A fitted router; `embedder` names the one it was fitted with.

    `usual`: what its decisions on held-out questions look like; None if it was fitted before that was kept.
    """

    embedder: str
    judge: Judge
    policy: Policy
    report: FitReport
    usual: Usual | None = None
