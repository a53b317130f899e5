"""Which domain a conversation is on, turn by turn, without a word of any language.

A fold over the turns: the domain after a turn follows from the domain before and from what the router says
of that turn by itself, so any process that sees the history comes to the same answer. What counts is how
sure that is, how long the turn is, whether it only carries on (a role that is learnt from examples) and
how like the turn before it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from crma_router.conversation.messages import Conversation
from crma_router.conversation.sessions import SessionKey, Sessions, history_digest
from crma_router.policy import Cause, Policy, RoutingDecision

HISTORY_TURNS = 16
"""How many turns before the last are read again where the domain they led to is not known."""

SURE = 0.9
"""Confidence from which a turn speaks for itself whatever came before, unless it only carries on."""

CARRIES = 0.5
"""Probability from which a turn only carries on."""

ALIKE = 0.35
"""Cosine to the turn before from which a turn of no domain stays with it."""

SHORT = 8
"""Words up to which a turn says little: the system prompt may say which of several meanings it has."""

FEW = 3
"""Words up to which a turn of no domain says too little to leave one."""

_VERY_SURE = 0.97
_LEADS = 0.3
"""Lead of another domain over the conversation's from which a turn speaks for itself, short as it may be."""

_LIKELY = 0.75
"""Confidence from which another domain is followed that a turn is nearly, not quite, like."""

_LITTLE = 0.3
"""Part of the hysteresis that a turn may be outside and still be taken for what it leans to."""

_ONLY_CARRIES = 0.9
_SYSTEM_WEIGHT = 0.7


@dataclass(frozen=True)
class Dialogue:
    """What is left to decide of a conversation: the domain it is on (`start`) and the turns from there.

    before: the turn before the first of `turns`, if there is one. system: the text of the system prompt,
    or empty.
    """

    start: str | None
    before: str | None
    turns: tuple[str, ...]
    system: str = ""

    def texts(self) -> list[str]:
        """Every text that `decide` needs a decision of, once; at least one."""
        texts = [self.before, *self.turns, self.system or None]
        return list(dict.fromkeys(text for text in texts if text is not None)) or [""]

    def decide(self, decisions: Mapping[str, RoutingDecision], policy: Policy) -> RoutingDecision:
        """The decision for the last turn. `decisions` are the router's for `texts()`, each by itself."""
        current, decision = self.start, decisions.get("")
        before = None if self.before is None else decisions[self.before]
        system = decisions[self.system] if self.system else None
        for turn in self.turns:
            decision = step(current, decisions[turn], before, system, policy)
            current, before = decision.domain, decisions[turn]
        if decision is None:  # no user turn at all: the system prompt is all there is
            assert system is not None
            return system
        return decision


@dataclass(frozen=True)
class OpenDialogue:
    """One request's part of a conversation; `known`: the memory already held what the former turns led to."""

    key: SessionKey
    conversation: Conversation
    dialogue: Dialogue
    known: bool

    def close(self, sessions: Sessions, domain: str | None) -> None:
        """Remember what the conversation is on now."""
        if self.key.kind != "response":  # an answer may be gone on from twice: what it led to stays as it was
            sessions.remember(self.key, domain, history_digest(self.conversation.turns))
        if self.conversation.reply is not None:  # what a later request may name as the one it goes on from
            sessions.remember(self.conversation.reply, domain, b"")


def open_dialogue(sessions: Sessions, key: SessionKey, conversation: Conversation) -> OpenDialogue:
    """Go on where the conversation stands.

    Of a request that brings its history, the history decides: the memory only spares reading it again, and is
    believed if it is of exactly these turns. Of a request without one, the memory under a key that the client
    gave decides. Many conversations may begin alike, so of `opening` keys the domain counts in no other.
    """
    turns = conversation.turns
    state = sessions.recall(key)
    if state is not None and len(turns) > 1 and state.history == history_digest(turns[:-1]):
        return OpenDialogue(key, conversation, _dialogue(conversation, state.domain, 1), known=True)
    believed = state is not None and (
        key.kind in ("session", "response") or (key.kind == "user" and len(turns) <= 1)
    )
    start = state.domain if state is not None and believed else None
    return OpenDialogue(key, conversation, _dialogue(conversation, start, len(turns)), known=believed)


def _dialogue(conversation: Conversation, start: str | None, unread: int) -> Dialogue:
    turns = conversation.turns
    first = len(turns) - min(unread, HISTORY_TURNS + 1)
    before = turns[first - 1] if first > 0 else None
    return Dialogue(start, before, turns[first:], conversation.system)


def step(
    current: str | None,
    own: RoutingDecision,
    before: RoutingDecision | None,
    system: RoutingDecision | None,
    policy: Policy,
) -> RoutingDecision:
    """The decision for one turn, `own` by itself, of a conversation that is on `current`; None: on no domain.

    before: what the turn before was by itself. system: what the system prompt is by itself.
    """
    if current is None or current not in own.scores:
        return _beginning(own, before, system, policy)
    cause = _why_stay(current, own, before, policy)
    if cause is not None:
        return _stay(current, own, cause)
    return _nearly(own, policy) if own.cause == "out of domain" else own


def _why_stay(
    current: str, own: RoutingDecision, before: RoutingDecision | None, policy: Policy
) -> Cause | None:
    """Why the turn stays with the conversation's domain; None if it speaks for itself."""
    carries, lead = own.carries >= CARRIES, own.confidence - own.scores[current]
    if own.domain == current:
        return None
    if own.carries >= _ONLY_CARRIES and own.words <= SHORT:
        return "follow-up"
    if own.domain is not None:
        sure = own.confidence >= (_VERY_SURE if carries else SURE)
        leads = lead >= (policy.margin if own.words > SHORT else _LEADS)
        if sure or (leads and not carries):
            return None
        return "follow-up" if carries else "close call"
    if carries or own.cause in ("no words", "form"):
        return "follow-up"
    if own.cause == "unsure":
        return "close call" if lead < policy.margin else None
    if own.words <= FEW:
        return "follow-up"
    if lead == 0 and _over(own) <= _LITTLE * policy.hysteresis:
        return "near"
    alike = before is not None and _likeness(own, before) >= ALIKE
    return "near" if alike and _over(own) <= policy.hysteresis else None


def _over(own: RoutingDecision) -> float:
    """How far outside it is, deviations."""
    return own.ood_distance - own.ood_threshold


def _nearly(own: RoutingDecision, policy: Policy) -> RoutingDecision:
    """Who asks of one domain is likely to ask of another next: a little more counts as inside."""
    leader = max(own.scores, key=own.scores.__getitem__)
    if own.confidence < _LIKELY or _over(own) > _LITTLE * policy.hysteresis:
        return own
    reason = f"in a conversation that is on a domain, the turn is like enough to {leader}; {own.reason}"
    return replace(own, domain=leader, path="routed", reason=reason, cause="near")


def _likeness(one: RoutingDecision, other: RoutingDecision) -> float:
    """The cosine of the two turns, -1 to 1; 0 where one has no vector."""
    if one.vector is None or other.vector is None:
        return 0.0
    return float(one.vector @ other.vector)


def _stay(current: str, own: RoutingDecision, cause: Cause) -> RoutingDecision:
    why = {
        "follow-up": "the turn carries the conversation on",
        "close call": "no other domain leads clearly",
        "near": "the turn is like what was said before",
    }
    reason = f"the conversation is on {current} and {why[cause]}; by itself: {own.reason}"
    return replace(
        own, domain=current, confidence=own.scores[current], path="sticky", reason=reason, cause=cause
    )


def _beginning(
    own: RoutingDecision, before: RoutingDecision | None, system: RoutingDecision | None, policy: Policy
) -> RoutingDecision:
    """No domain to stay with: the turn by itself, with what the system prompt says where the turn says
    little."""
    carries = own.carries >= CARRIES
    if system is not None and (told := _told(system, policy)) is not None:
        if carries or own.cause in ("no words", "form"):
            reason = f"the system prompt speaks of {told}, the turn of nothing; by itself: {own.reason}"
            scores = system.scores
            return replace(
                own,
                domain=told,
                confidence=scores[told],
                scores=scores,
                path="routed",
                reason=reason,
                cause="system",
            )
        if own.words <= SHORT:
            return _with_system(own, system, policy)
    if own.domain is not None and carries and before is not None and own.confidence < _VERY_SURE:
        reason = f"the turn carries on a conversation that is on no domain; by itself: {own.reason}"
        return replace(own, domain=None, path="fallback", reason=reason, cause="follow-up")
    return own


def _told(system: RoutingDecision, policy: Policy) -> str | None:
    """The domain that the system prompt speaks of, an instruction though it is."""
    if system.ood_distance > system.ood_threshold or system.confidence < policy.min_confidence:
        return None
    return max(system.scores, key=system.scores.__getitem__)


def _with_system(own: RoutingDecision, system: RoutingDecision, policy: Policy) -> RoutingDecision:
    """Scores of both, as a product of opinions of which the system prompt's weighs less."""
    if own.ood_distance > own.ood_threshold + policy.hysteresis / 2:
        return own
    products = {name: score * system.scores[name] ** _SYSTEM_WEIGHT for name, score in own.scores.items()}
    total = sum(products.values()) or 1.0
    scores = {name: product / total for name, product in products.items()}
    leader = max(scores, key=scores.__getitem__)
    if leader == own.domain or scores[leader] < policy.min_confidence:
        return own
    reason = f"the system prompt speaks of {leader}, and the turn says little; by itself: {own.reason}"
    return replace(
        own,
        domain=leader,
        confidence=scores[leader],
        scores=scores,
        path="routed",
        reason=reason,
        cause="system",
    )
