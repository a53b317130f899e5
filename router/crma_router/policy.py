"""From scores to a decision, in words.

Owns: when a text is routed and when it falls back, and the sentence that says why. Knows of no embeddings.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from crma_adapters.io.document import STRICT

Path = Literal["routed", "sticky", "fallback"]
Cause = Literal["sure", "no words", "out of domain", "unsure", "follow-up", "close call", "near"]


@dataclass(frozen=True)
class RoutingDecision:
    """Where one text goes. `domain` is None on fallback: the backbone alone answers.

    confidence: calibrated probability, 0 to 1, that the leading domain is the right one if any is.
    scores: the same for every domain; they sum to 1. Whether any is right, the distance says.
    ood_distance, ood_threshold: in standard deviations beyond the usual text of the domains; over is outside.
    path: `sticky` where the conversation decided (`conversation.state`), never of a text by itself.
    reason: a sentence for people. cause: the same for metrics, one of seven; the last three are of `sticky`.
    """

    domain: str | None
    confidence: float
    path: Path
    reason: str
    scores: dict[str, float]
    ood_distance: float
    ood_threshold: float
    cause: Cause = "sure"


@dataclass(frozen=True)
class Policy:
    """What it takes to be routed, and to leave the domain that a conversation is on.

    min_confidence, 0 to 1: below it the leading domain is not followed.
    margin, 0 to 1: how far another domain must lead over the conversation's to take it over.
    hysteresis, deviations: how far over the threshold a turn may be that leans to the conversation's domain.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    margin: Annotated[float, Field(ge=0, le=1)] = 0.2
    hysteresis: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0


@dataclass(frozen=True)
class Evidence:
    """What is known of one text, as in `RoutingDecision`. by_words: it follows from the words alone."""

    scores: dict[str, float]
    ood_distance: float
    ood_threshold: float
    has_words: bool = True
    by_words: bool = False


def decide(evidence: Evidence, policy: Policy) -> RoutingDecision:
    """Route to the leading domain, unless there are no words, the text is outside, or no domain is sure."""
    cause, reason = _judge(evidence, policy)
    leader, confidence = max(evidence.scores.items(), key=lambda item: item[1])
    return RoutingDecision(
        domain=leader if cause == "sure" else None,
        confidence=confidence,
        path="routed" if cause == "sure" else "fallback",
        reason=reason,
        scores=evidence.scores,
        ood_distance=evidence.ood_distance,
        ood_threshold=evidence.ood_threshold,
        cause=cause,
    )


def _judge(evidence: Evidence, policy: Policy) -> tuple[Cause, str]:
    (leader, best), *others = sorted(evidence.scores.items(), key=lambda item: -item[1])
    lead = f"{leader} leads with {best:.2f}"
    after = f", {others[0][0]} follows with {others[0][1]:.2f}" if others else ""
    against = f"distance {evidence.ood_distance:.2f}, up to {evidence.ood_threshold:.2f} is inside"
    if not evidence.has_words:
        return "no words", "there are no words to route by"
    if evidence.ood_distance > evidence.ood_threshold:
        return "out of domain", f"the text is unlike what the domains know ({against}); {lead}"
    if best < policy.min_confidence:
        return "unsure", f"no domain is sure enough: {lead}{after}, {policy.min_confidence:.2f} is needed"
    what = "its words alone are" if evidence.by_words else "the text is"
    return "sure", f"{lead}{after}, and {what} like what the domains know ({against})"
