"""Which domain a conversation is on, turn by turn.

Owns: when a turn stays with the conversation's domain, when it takes the conversation elsewhere. This is a
fold: the domain after a turn follows from the domain before and what the router says of that turn, so any
process that sees the history comes to the same answer. Knows nothing of sessions, HTTP or embeddings.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from crma_router.conversation.follow_up import Shape, shape_of
from crma_router.conversation.messages import MOST_TURNS, joint_text
from crma_router.conversation.question import own_words
from crma_router.policy import Cause, Policy, RoutingDecision

HISTORY_TURNS = 16
"""How many turns before the last are read again where the domain they led to is not known."""

# A short turn says little: it takes a conversation elsewhere only if it is this sure.
_SHORT_CONFIDENCE = 0.8


@dataclass(frozen=True)
class TurnTexts:
    """The texts of one turn that are routed.

    own: the user's own words. whole: the whole turn, if it has pasted parts beside them. joint: the turn
    behind those before it, if neither stands alone. first: nothing was said before.
    """

    own: str
    whole: str | None
    joint: str | None
    shape: Shape
    first: bool

    @classmethod
    def of(cls, turns: Sequence[str], *, begun: bool) -> "TurnTexts":
        """Of the last of `turns`; `begun`: more was said before the first of them."""
        words = own_words(turns[-1])
        shape = shape_of(words.instruction)
        before = turns[-MOST_TURNS:-1]
        leans = bool(before) and shape.kind != "full" and not shape.bare
        # A full turn before it was judged by itself: a few words more do not make it another.
        joint = joint_text(tuple(turns)) if leans and not any(map(_is_full, before)) else None
        pasted = turns[-1] if words.pasted else None
        return cls(words.instruction, pasted, joint, shape, first=len(turns) == 1 and not begun)

    def __iter__(self) -> Iterator[str]:
        own = None if self.whole is not None and self.shape.bare else self.own
        return (text for text in (own, self.whole, self.joint) if text is not None)


@dataclass(frozen=True)
class Dialogue:
    """What is left to decide of a conversation: the domain it is on (`start`), the turns from there."""

    start: str | None
    turns: tuple[TurnTexts, ...]

    @classmethod
    def resume(
        cls, turns: Sequence[str], start: str | None, unread: int, *, begun: bool = False
    ) -> "Dialogue":
        """Of `turns`, the last `unread` are still to be read; at most `HISTORY_TURNS` and the last are.

        `begun`: more was said before the first of them.
        """
        first = len(turns) - min(unread, HISTORY_TURNS + 1)
        return cls(
            start, tuple(TurnTexts.of(turns[: at + 1], begun=begun) for at in range(first, len(turns)))
        )

    def texts(self) -> list[str]:
        """Every text that `decide` needs a decision of, once; at least one."""
        return list(dict.fromkeys(text for turn in self.turns for text in turn)) or [""]

    def decide(self, decisions: Mapping[str, RoutingDecision], policy: Policy) -> RoutingDecision:
        """The decision for the last turn. `decisions` are the router's for `texts()`, each by itself."""
        current, decision = self.start, decisions.get("")
        for turn in self.turns:
            decision = step(current, turn, decisions, policy)
            current = decision.domain
        assert decision is not None
        return decision


def step(
    current: str | None, turn: TurnTexts, decisions: Mapping[str, RoutingDecision], policy: Policy
) -> RoutingDecision:
    """The decision for one turn of a conversation that is on `current`; None: on no domain."""
    own = _own(turn, decisions)
    if current is None or current not in own.scores:
        return _opening(turn, own, decisions)
    cause = _why_stay(current, turn, own, policy)
    return own if cause is None else _stay(current, own, cause)


def _own(turn: TurnTexts, decisions: Mapping[str, RoutingDecision]) -> RoutingDecision:
    """What the turn says by itself. Pasted text speaks where the user's own words only point at it."""
    return decisions[turn.whole if turn.whole is not None and turn.shape.bare else turn.own]


def _opening(
    turn: TurnTexts, own: RoutingDecision, decisions: Mapping[str, RoutingDecision]
) -> RoutingDecision:
    """No domain to stay with. What cannot stand alone is decided with what is pasted or was said before."""
    kind = turn.shape.kind
    alone = turn.first or kind == "full" or (kind == "short" and own.confidence >= _SHORT_CONFIDENCE)
    behind = [decisions[text] for text in (turn.whole, turn.joint) if text is not None]
    if own.domain is not None and alone:
        return own
    return next((decision for decision in behind if decision.domain is not None), _nowhere(own))


def _nowhere(own: RoutingDecision) -> RoutingDecision:
    """A turn that carries on a conversation that is on no domain."""
    if own.domain is None:
        return own
    reason = f"the turn carries on a conversation that is on no domain; by itself: {own.reason}"
    return replace(own, domain=None, path="fallback", reason=reason, cause="follow-up")


def _why_stay(current: str, turn: TurnTexts, own: RoutingDecision, policy: Policy) -> Cause | None:
    """Why the turn stays with the conversation's domain; None if it speaks for itself."""
    pasted = turn.whole is not None and turn.shape.bare
    if own.domain == current:
        return None
    if not pasted and turn.shape.kind == "follow-up":
        return "follow-up"
    lead = own.confidence - own.scores[current]
    if own.domain is not None:
        enough = turn.shape.kind == "full" or pasted or own.confidence >= _SHORT_CONFIDENCE
        return None if enough and lead >= policy.margin else "close call"
    if own.cause == "unsure":
        return "close call" if lead < policy.margin else None
    if not pasted and turn.shape.kind == "short":
        return "follow-up"
    near = own.ood_distance <= own.ood_threshold + policy.hysteresis
    return "near" if lead == 0 and near and own.confidence >= policy.min_confidence else None


def _stay(current: str, own: RoutingDecision, cause: Cause) -> RoutingDecision:
    why = {
        "follow-up": "the turn carries the conversation on",
        "close call": "no other domain leads clearly",
        "near": "the turn leans to it",
    }
    reason = f"the conversation is on {current} and {why[cause]}; by itself: {own.reason}"
    return replace(
        own, domain=current, confidence=own.scores[current], path="sticky", reason=reason, cause=cause
    )


def _is_full(turn: str) -> bool:
    return shape_of(own_words(turn).instruction).kind == "full"
