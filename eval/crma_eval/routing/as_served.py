"""A router asked as the server asks it: by whole conversations, each in a session of its own."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from crma_router.conversation.messages import read_conversation
from crma_router.conversation.sessions import SessionKey, Sessions
from crma_router.conversation.state import open_dialogue
from crma_router.policy import Policy, RoutingDecision


class TextRouter(Protocol):
    """The router, as far as it is needed here."""

    @property
    def policy(self) -> Policy:
        """What it takes to be routed."""
        ...

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        """A decision for each text."""
        ...


def decide(router: TextRouter, messages: Sequence[Mapping[str, str]]) -> RoutingDecision:
    """The decision for the last turn of OpenAI chat messages that no one has seen before."""
    conversation = read_conversation(list(messages))
    sessions = Sessions()
    opened = open_dialogue(sessions, SessionKey.of("opening", conversation.opening), conversation)
    texts = opened.dialogue.texts()
    return opened.dialogue.decide(dict(zip(texts, router.route_many(texts), strict=True)), router.policy)


def decide_text(router: TextRouter, text: str) -> RoutingDecision:
    """The decision for a conversation that begins with `text`."""
    return decide(router, [{"role": "user", "content": text}])
