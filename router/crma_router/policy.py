"""From what the classifier says of a text to a decision, in words."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field

from crma_adapters.io.document import STRICT
from crma_router.encoders.base import Embeddings

Path = Literal["routed", "sticky", "fallback"]
Cause = Literal[
    "sure", "context", "no words", "form", "language", "out of domain", "unsure", "follow-up", "close "
    "call", "near",
    "system",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True)
class RoutingDecision:
    """Where one text goes. `domain` is None on fallback: the backbone alone answers.

    confidence: calibrated probability, 0 to 1, that the leading domain is the right one if any is.
    scores: the same for every domain; they sum to 1. Whether any is right, the distance says.
    ood_distance, ood_threshold: in standard deviations beyond the usual text of the domains; over is outside.
    path: `sticky` where the conversation decided (`conversation.state`), never of a text by itself.
    reason: a sentence for people. cause: the same for metrics, one of `CAUSES`.
    asked: what of the text was read as the question. carries: probability, 0 to 1, that it only carries a
    conversation on. words: how many `asked` has. vector: (D,) of it, what conversations are compared by.
    place: its place on the map of the examples (`example_map`), where that has been drawn.
    """

    domain: str | None
    confidence: float
    path: Path
    reason: str
    scores: dict[str, float]
    ood_distance: float
    ood_threshold: float
    cause: Cause = "sure"
    asked: str = ""
    carries: float = 0.0
    words: int = 0
    vector: Embeddings | None = field(default=None, repr=False, compare=False)
    place: tuple[float, float] | None = field(default=None, repr=False, compare=False)


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
class ClassifierOutput:
    """What is known of one text, as in `RoutingDecision`."""

    scores: dict[str, float]
    ood_distance: float
    ood_threshold: float
    has_words: bool = True


def decide(output: ClassifierOutput, policy: Policy) -> RoutingDecision:
    """Route to the leading domain, unless there are no words, the text is outside, or no domain is sure."""
    cause, reason = _weigh(output, policy)
    leader, confidence = max(output.scores.items(), key=lambda item: item[1])
    return RoutingDecision(
        domain=leader if cause == "sure" else None,
        confidence=confidence,
        path="routed" if cause == "sure" else "fallback",
        reason=reason,
        scores=output.scores,
        ood_distance=output.ood_distance,
        ood_threshold=output.ood_threshold,
        cause=cause,
    )


def _weigh(output: ClassifierOutput, policy: Policy) -> tuple[Cause, str]:
    (leader, best), *others = sorted(output.scores.items(), key=lambda item: -item[1])[:2]
    lead = f"{leader} leads with {best:.2f}"
    after = f", {others[0][0]} follows with {others[0][1]:.2f}" if others else ""
    against = f"distance {output.ood_distance:.2f}, up to {output.ood_threshold:.2f} is inside"
    if not output.has_words:
        return "no words", "there are no words to route by"
    if output.ood_distance > output.ood_threshold:
        return "out of domain", f"the text is unlike what the domains know ({against}); {lead}"
    if best < policy.min_confidence:
        return "unsure", f"no domain is sure enough: {lead}{after}, {policy.min_confidence:.2f} is needed"
    return "sure", f"{lead}{after}, and the text is like what the domains know ({against})"
