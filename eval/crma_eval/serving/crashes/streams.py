"""Clients that stream until the server is gone.

Owns: how many are open and what each noted. Knows nothing of kills.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from crma_eval.serving.streamed import Streamed, chat_body, stream_answer

PROMPTS = ("What is the capital of France?", "Write a line about autumn.", "Why is the sky blue?")
TOKENS = (16, 96)


@dataclass(kw_only=True)
class Answer(Streamed):
    """A streamed answer of one domain; `over_s` is when it was over, by the monotonic clock."""

    domain: str
    asked_tokens: int
    over_s: float = 0.0


class Streams:
    """A number of clients, each with one stream open at all times."""

    def __init__(self, client: httpx.AsyncClient, domains: Sequence[str]) -> None:
        self._client = client
        self._domains = domains
        self.answers: list[Answer] = []
        self.open = 0
        """How many streams have had a first token and are not over."""
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, clients: int, seed: str) -> None:
        """Have `clients` stream from now on."""
        draws = (random.Random(f"{seed}/{number}") for number in range(clients))
        self._tasks = [asyncio.create_task(self._stream(draw)) for draw in draws]

    async def end(self) -> None:
        """Wait for the answers under way and ask no more."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _stream(self, draw: random.Random) -> None:
        while not self._stopping:
            answer = Answer(domain=draw.choice(self._domains), asked_tokens=draw.randint(*TOKENS))
            body = chat_body(answer.domain, draw.choice(PROMPTS), answer.asked_tokens)
            await stream_answer(self._client, body, answer, opened=self._count)
            answer.over_s = time.monotonic()
            self.answers.append(answer)
            if answer.error:
                await asyncio.sleep(0.1)  # nobody answers at once any more

    def _count(self, change: int) -> None:
        self.open += change
