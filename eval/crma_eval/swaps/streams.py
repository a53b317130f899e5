"""Clients that stream one answer after the other while releases change.

Owns: what a client asks, and what it notes of the reply. What is wrong with an answer is `judgement`'s.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from crma_eval.swaps.timeline import Timeline

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


@dataclass
class Answer:
    """One streamed answer. `oldest`, `newest`: numbers of the releases that could answer when it was asked.

    `pinned`: the version it asked for by its exact name. `words` counts the words of the text. `ended`: the
    stream was finished as its protocol says. `error`: why there is less than that.
    """

    asked_tokens: int
    pinned: str | None
    oldest: int
    newest: int = 0
    version: str | None = None
    words: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    error: str | None = None
    first_token_s: float | None = None
    seconds: float = 0.0


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
        answer = Answer(draw.randint(*TOKENS), pinned, live.number)
        body = {
            "model": f"{DOMAIN}@{pinned}" if pinned else DOMAIN,
            "messages": [{"role": "user", "content": draw.choice(PROMPTS)}],
            "max_tokens": answer.asked_tokens,
            "temperature": 0,
            "stream": True,
        }
        start_s = time.monotonic()
        try:
            await self._stream(body, answer, start_s)
        except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
            answer.error = f"{type(error).__name__}: {error}"
        answer.seconds = time.monotonic() - start_s
        return answer

    async def _stream(self, body: dict[str, object], answer: Answer, start_s: float) -> None:
        text, finish = "", None
        async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
            answer.newest = self._timeline.begun().number  # whatever answers had been chosen by now
            if reply.status_code != 200:
                answer.error = f"status {reply.status_code}: {(await reply.aread())[:300].decode()}"
                return
            answer.version = reply.headers.get("x-crma-version")
            try:
                async for line in reply.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    data = line.removeprefix("data:").strip()
                    if data == "[DONE]":
                        answer.ended = finish is not None
                        break
                    choice = json.loads(data)["choices"][0]
                    piece = choice["delta"].get("content") or ""
                    finish = choice["finish_reason"] or finish
                    if piece and answer.first_token_s is None:
                        answer.first_token_s = time.monotonic() - start_s
                        self.open += 1
                    text += piece
            finally:
                self.open -= answer.first_token_s is not None
        for word in text.split():
            answer.words[word] = answer.words.get(word, 0) + 1
