"""Clients that stream one answer after the other while releases change.

Owns: what a client asks, and what it notes of the reply. What is wrong with an answer is `judgement`'s.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from crma_eval.serving.streamed import Streamed, chat_body, stream_answer
from crma_eval.serving.swaps.timeline import Timeline

DOMAIN = "echo"
TIMEOUT_S = 300.0
PROMPTS = (
    "What is the capital of France?",
    "Write a line about autumn.",
    "How do I reverse a list in Python?",
    "Why is the sky blue?",
)
"""Few, so that the same prompt comes before and after every change of release."""

TOKENS = (8, 64)
_PINNED = 0.25


@dataclass(kw_only=True)
class Answer(Streamed):
    """One streamed answer. `oldest`, `newest`: numbers of the releases that could answer when it was asked.

    `pinned`: the version it asked for by its exact name.
    """

    asked_tokens: int
    pinned: str | None
    oldest: int
    newest: int = 0


class Streams:
    """A number of clients, each with one stream open at all times."""

    def __init__(self, client: httpx.AsyncClient, timeline: Timeline, done: Callable[[Answer], None]) -> None:
        """`done` is given every answer when it has ended, however it did."""
        self._client = client
        self._timeline = timeline
        self._done = done
        self.open = 0
        """How many streams have had a first token and are not over."""
        self.stopping = False

    async def run(self, clients: int, seed: int) -> None:
        """Stream until `stopping` is set and the last answer is over."""
        await asyncio.gather(*(self._client_loop(random.Random(f"{seed}/{n}")) for n in range(clients)))

    async def _client_loop(self, draw: random.Random) -> None:
        while not self.stopping:
            self._done(await self.ask(draw))

    async def ask(self, draw: random.Random) -> Answer:
        """One answer; most by the alias, some by the exact name of what is live."""
        live = self._timeline.confirmed()
        pinned = live.version if draw.random() < _PINNED else None
        answer = Answer(asked_tokens=draw.randint(*TOKENS), pinned=pinned, oldest=live.number)
        model = f"{DOMAIN}@{pinned}" if pinned else DOMAIN

        def begun() -> None:
            answer.newest = self._timeline.begun().number  # whatever answers had been chosen by now

        body = chat_body(model, draw.choice(PROMPTS), answer.asked_tokens)
        await stream_answer(self._client, body, answer, begun=begun, opened=self._count)
        return answer

    def _count(self, change: int) -> None:
        self.open += change
