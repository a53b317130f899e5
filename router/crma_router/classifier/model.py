"""Everything a decision depends on but the embedder.

Owns: the parts of a fitted router. Knows nothing of how they were fitted or where they are kept.
"""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from crma_adapters.io.document import STRICT
from crma_router.classifier.domain_classifier import Judge
from crma_router.classifier.first_reading import FirstReading
from crma_router.drift import Usual
from crma_router.policy import Policy


@dataclass(frozen=True)
class FitReport:
    """What the router was fitted on, and how it does on folds held out of that.

    routed: the share of each domain's questions that reach it. fallback: the share of out-of-domain questions
    that reach none, None where there are none. by_words: the share of the domains' questions of which the
    words alone decide. Shares of 1, rounded to four digits.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    seed: int
    examples: dict[str, int]
    out_of_domain: int
    routed: dict[str, float]
    fallback: float | None
    by_words: float = 0.0


@dataclass(frozen=True)
class RouterModel:
    """A fitted router; `embedder` names the one it was fitted with.

    `usual`: what its decisions on held-out questions look like; None if it was fitted before that was kept.
    `first`: what decides by the words alone; None where the embedder does not give them, or they mislead.
    """

    embedder: str
    judge: Judge
    policy: Policy
    report: FitReport
    usual: Usual | None = None
    first: FirstReading | None = None
