"""What a server that came up serves: every adapter's exact name in one listing, and what each says.

Owns: asking. What is wrong with it is `judgement`'s.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from crma_eval.serving.crashes.streams import PROMPTS, Answer
from crma_eval.serving.streamed import chat_body, stream_answer

TOKENS = 8
_LOOK_EVERY_S = 0.1


@dataclass
class Served:
    """`oldest`, `newest`: numbers of the releases that it may be. `listed`: live version by domain.

    `answers`: one of each domain.
    """

    oldest: int
    newest: int = 0
    listed: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)


async def look(client: httpx.AsyncClient, domains: Sequence[str], found: Served) -> None:
    """List, and have every adapter say something."""
    found.listed = await live_versions(client, domains)
    for domain in domains:
        answer = Answer(domain=domain, asked_tokens=TOKENS)
        await stream_answer(client, chat_body(domain, PROMPTS[0], TOKENS), answer)
        answer.over_s = time.monotonic()
        found.answers.append(answer)


async def live_versions(client: httpx.AsyncClient, domains: Sequence[str]) -> dict[str, str]:
    """The version that each domain stands for, all from one listing."""
    listed = (await client.get("/v1/models?names=all")).raise_for_status().json()["data"]
    roots = {model["id"]: str(model["root"]) for model in listed}
    return {domain: roots[domain].partition("@")[2] for domain in domains if domain in roots}


async def becomes(client: httpx.AsyncClient, versions: Mapping[str, str], timeout_s: float) -> bool:
    """Wait until these are live, all of them; False if they are not in time."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if await live_versions(client, tuple(versions)) == versions:
            return True
        await asyncio.sleep(_LOOK_EVERY_S)
    return False
