"""The one call a server makes: from a conversation, and how it is known, to a decision."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from crma_adapters.errors import RouterError
from crma_router.batching import BatchRouter, RouterQueue
from crma_router.conversation.messages import Conversation
from crma_router.conversation.sessions import SessionKey, Sessions
from crma_router.conversation.state import OpenDialogue, open_dialogue
from crma_router.policy import Policy, RoutingDecision

MOST_PROMPTS = 256
"""Prompts of one request that are decided, each by itself."""


class TextRouter(BatchRouter, Protocol):
    """Decides which domain each turn belongs to."""

    @property
    def policy(self) -> Policy: ...

    def route(self, text: str) -> RoutingDecision: ...


@dataclass(frozen=True)
class Asked:
    """What a request is routed by."""

    conversation: Conversation
    key: SessionKey


@dataclass(frozen=True)
class RouteDecision:
    """decision: where the request goes. key: what its conversation is known by; known: something was
    remembered."""

    decision: RoutingDecision
    key: SessionKey
    known: bool


class PromptsDisagreeError(RouterError):
    """The prompts of one request belong to different domains, and one adapter answers a request."""


class RoutingService:
    """Queue and memory of one process."""

    def __init__(self, sessions: Sessions | None = None) -> None:
        self.sessions = Sessions() if sessions is None else sessions
        self._queue = RouterQueue()

    def close(self) -> None:
        """Cancel who waits."""
        self._queue.close()

    async def route(self, router: TextRouter, asked: Callable[[], Asked]) -> RouteDecision:
        """The decision of `router` for what `asked` gives, which is called on a thread: a megabyte takes a
        while.

        Raises:
            RouterError: the conversation cannot be read.
            PromptsDisagreeError: several prompts, and not one domain for all of them.
            RouterBusyError: too many wait already.
        """
        opened = await asyncio.to_thread(self._open, asked)
        if len(opened.conversation.prompts) > 1:
            return await self._prompts(router, opened)
        texts = opened.dialogue.texts()
        decisions = await self._queue.decide_many(router, texts)
        decision = opened.dialogue.decide(dict(zip(texts, decisions, strict=True)), router.policy)
        opened.close(self.sessions, decision.domain)
        return RouteDecision(decision, opened.key, opened.known)

    async def _prompts(self, router: TextRouter, opened: OpenDialogue) -> RouteDecision:
        prompts = opened.conversation.prompts
        if len(prompts) > MOST_PROMPTS:
            raise PromptsDisagreeError(
                f"{len(prompts)} prompts in one request; up to {MOST_PROMPTS} are routed: name the "
                f"adapter in 'model'"
            )
        decisions = await self._queue.decide_many(router, prompts)
        found = list(dict.fromkeys(one.domain for one in decisions))
        if len(found) > 1:
            names = ", ".join(name or "none" for name in found)
            raise PromptsDisagreeError(
                f"the {len(prompts)} prompts of this request belong to different domains ({names}), and "
                f"one adapter "
                "answers a request: send them one by one, or name the adapter in 'model'"
            )
        return RouteDecision(decisions[0], opened.key, known=False)

    def _open(self, asked: Callable[[], Asked]) -> OpenDialogue:
        given = asked()
        return open_dialogue(self.sessions, given.key, given.conversation)
