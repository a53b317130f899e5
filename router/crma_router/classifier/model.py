"""Everything a decision depends on but the encoder."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from crma_adapters.io.document import STRICT
from crma_router.classifier.domain_classifier import DomainClassifier
from crma_router.drift import ReferenceStats
from crma_router.policy import Policy
from crma_router.roles.role_classifier import RoleClassifier


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
class RouterModel:
    """A fitted router; `embedder` names the one it was fitted with.

    `languages`: ISO 639-1 codes of those its encoder was trained on, empty if not known.
    `usual`: what its decisions on held-out questions look like.
    """

    embedder: str
    languages: tuple[str, ...]
    classifier: DomainClassifier
    roles: RoleClassifier
    policy: Policy
    report: FitReport
    usual: ReferenceStats
    spelling: bool = False
