"""A streamed answer and what is noted of it: who gave it, which words it has, how it ended.

Owns: the request's form and reading its events. Knows nothing of what a right answer is.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx


@dataclass(kw_only=True)
class Streamed:
    """What came. `version` is the reply's own. `words` counts the words of the text. `ended`: the stream was
    finished as its protocol says. `error`: why there is less than that.
    """

    version: str | None = None
    words: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    error: str | None = None
    first_token_s: float | None = None
    seconds: float = 0.0


def chat_body(model: str, prompt: str, tokens: int) -> dict[str, object]:
    """A request for a greedy answer of `tokens` tokens, streamed."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0, "stream": True}


async def stream_answer(
    client: httpx.AsyncClient,
    body: dict[str, object],
    answer: Streamed,
    *,
    begun: Callable[[], None] = lambda: None,
    opened: Callable[[int], None] = lambda _: None,
) -> None:
    """Ask, and note in `answer` what comes. `begun` is called when a reply begins.

    `opened` is given 1 at the first token and -1 when an answer that had one is over.
    """
    start_s = time.monotonic()
    try:
        await _read(client, body, answer, start_s, begun, opened)
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        answer.error = f"{type(error).__name__}: {error}"
    answer.seconds = time.monotonic() - start_s


async def _read(
    client: httpx.AsyncClient,
    body: dict[str, object],
    answer: Streamed,
    start_s: float,
    begun: Callable[[], None],
    opened: Callable[[int], None],
) -> None:
    text, finish = "", None
    async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        begun()
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
                    opened(1)
                text += piece
        finally:
            if answer.first_token_s is not None:
                opened(-1)
    for word in text.split():
        answer.words[word] = answer.words.get(word, 0) + 1
