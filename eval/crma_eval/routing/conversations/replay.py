"""Scripts put to the router turn by turn, as clients would send them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from crma_eval.routing.conversations.scripts import Script
from crma_router.conversation.messages import read_conversation
from crma_router.conversation.sessions import SessionKey, Sessions
from crma_router.conversation.state import open_dialogue
from crma_router.policy import Policy, RoutingDecision

Client = Literal[
    "history", "history, another process each turn", "last message and a session header", "no memory"
]
CLIENTS: tuple[Client, ...] = get_args(Client)


class ScriptRouter(Protocol):
    @property
    def policy(self) -> Policy: ...

    def route_many(self, texts: list[str]) -> list[RoutingDecision]: ...


class RememberingRouter:
    """A router that decides about each text once: every kind of client sends the same turns, many times."""

    def __init__(self, router: ScriptRouter) -> None:
        self._router = router
        self._known: dict[str, RoutingDecision] = {}

    @property
    def policy(self) -> Policy:
        return self._router.policy

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known |= dict(zip(new, self._router.route_many(new), strict=True))
        return [self._known[text] for text in texts]


@dataclass(frozen=True)
class Replay:
    """One script as one kind of client sent it: the domain that answered each turn, and how it was chosen."""

    script: Script
    domains: tuple[str | None, ...]
    paths: tuple[str, ...]


def replay(script: Script, router: ScriptRouter, client: Client) -> Replay:
    """`no memory` is the router alone on each last turn, for comparison."""
    sessions = Sessions()
    decisions = []
    for count in range(1, len(script.turns) + 1):
        if client == "history, another process each turn":
            sessions = Sessions()
        decisions.append(_decide(script, count, router, client, sessions))
    return Replay(script, tuple(d.domain for d in decisions), tuple(d.path for d in decisions))


def _decide(
    script: Script, count: int, router: ScriptRouter, client: Client, sessions: Sessions
) -> RoutingDecision:
    alone = client in ("last message and a session header", "no memory")
    said = [turn.user for turn in script.turns[:count]]
    conversation = read_conversation(_messages(said[-1:] if alone else said))
    if client == "no memory":
        return router.route_many(list(conversation.turns))[0]
    key = (
        SessionKey.of("session", script.name.encode())
        if alone
        else SessionKey.of("opening", conversation.opening)
    )
    opened = open_dialogue(sessions, key, conversation)
    texts = opened.dialogue.texts()
    decision = opened.dialogue.decide(dict(zip(texts, router.route_many(texts), strict=True)), router.policy)
    opened.close(sessions, decision.domain)
    return decision


def _messages(said: Sequence[str]) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": "You are a helpful assistant."}]
    for text in said:
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "I see."}]
    return messages[:-1]
