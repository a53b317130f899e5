"""Clients that ask one thing after another, and what is wrong with an answer or with what a server lists."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

import httpx

from crma_eval.report import Goal
from crma_eval.serving.load.publisher import Said

PROMPTS = (
    "What is the capital of France?",
    "Write a line about autumn.",
    "How do I reverse a list in Python?",
    "Why is the sky blue?",
)
"""Few, so that the same prompt comes before and after every change of release."""

_Done = TypeVar("_Done")


class Clients(Generic[_Done]):
    """A number of clients, each with one request under way at all times, until they are told to end."""

    def __init__(self, ask: Callable[[random.Random, int], Awaitable[_Done]]) -> None:
        """`ask` is given its client's draws and how many requests were begun before; it makes one."""
        self._ask = ask
        self._ending = False
        self._begun = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.done: list[_Done] = []
        """What `ask` returned, in the order it ended."""

    def begin(self, clients: int, seed: object) -> None:
        """Have `clients` ask from now on."""
        draws = (random.Random(f"{seed}/{number}") for number in range(clients))
        self._tasks = [asyncio.create_task(self._go_on(draw)) for draw in draws]

    async def end(self) -> None:
        """Wait for what is under way and ask no more."""
        self._ending = True
        await asyncio.gather(*self._tasks)

    async def _go_on(self, draw: random.Random) -> None:
        while not self._ending:
            number, self._begun = self._begun, self._begun + 1
            self.done.append(await self._ask(draw, number))


@dataclass(kw_only=True)
class Answer:
    """A streamed answer of one domain, greedy, of `asked_tokens` tokens.

    `pinned`: the version it asked for by its exact name. `oldest`, `newest`: numbers of the releases that
    could answer. `version` is the reply's own. `words` counts the words of the text. `ended`: the stream was
    finished as its protocol says. `error`: why there is less than that. `over_s`: when it was over.
    """

    domain: str
    asked_tokens: int
    pinned: str | None = None
    oldest: int = 0
    newest: int = 0
    version: str | None = None
    words: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    error: str | None = None
    first_token_s: float | None = None
    seconds: float = 0.0
    over_s: float = 0.0


class Streams:
    """Asks for streamed answers, and knows how many of them are under way."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.open = 0
        """How many streams have had a first token and are not over."""

    async def ask(
        self, answer: Answer, prompt: str = PROMPTS[0], begun: Callable[[], None] = lambda: None
    ) -> Answer:
        """Ask, and note in `answer` what comes. `begun` is called when the reply begins."""
        start_s = time.monotonic()
        try:
            await self._read(answer, prompt, start_s, begun)
        except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
            answer.error = f"{type(error).__name__}: {error}"
        answer.over_s = time.monotonic()
        answer.seconds = answer.over_s - start_s
        return answer

    async def _read(self, answer: Answer, prompt: str, start_s: float, begun: Callable[[], None]) -> None:
        body = {
            "model": f"{answer.domain}@{answer.pinned}" if answer.pinned else answer.domain,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": answer.asked_tokens,
            "temperature": 0,
            "stream": True,
        }
        text, finish = "", None
        async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
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
                        self.open += 1
                    text += piece
            finally:
                self.open -= answer.first_token_s is not None
        for word in text.split():
            answer.words[word] = answer.words.get(word, 0) + 1


async def listed(client: httpx.AsyncClient) -> dict[str, str]:
    """Every name that a server answers to, exact ones too, and the exact name that it stands for."""
    reply = (await client.get("/v1/models", params={"names": "all"})).raise_for_status()
    return {model["id"]: str(model.get("root", "")) for model in reply.json()["data"]}


async def live_versions(client: httpx.AsyncClient, domains: Sequence[str]) -> dict[str, str]:
    """The version that each domain stands for, all from one listing."""
    roots = await listed(client)
    return {domain: roots[domain].partition("@")[2] for domain in domains if domain in roots}


async def until(holds: Callable[[], bool], timeout_s: float, every_s: float = 0.02) -> bool:
    """Whether it holds in time."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            return False
        await asyncio.sleep(every_s)
    return True


Fault = Literal["failed", "cut", "mixed", "mismarked", "other domain", "not live", "half"]
MEANING: dict[Fault, str] = {
    "failed": "no answer: an error, or a connection that broke before the first token",
    "cut": "a stream that broke off, or with fewer words than tokens were asked for",
    "mixed": "words of more than one version in one answer, or of none",
    "mismarked": "the reply's version is not the one whose word it says",
    "other domain": "an adapter that answers with another one's word",
    "not live": "of a version that was not live when it was asked, nor asked for",
    "half": "the adapters listed are of more than one release, or of none",
}


@dataclass
class Served:
    """What a server listed and said at one time. `oldest`, `newest`: numbers of the releases it may be of.

    `listed`: live version by domain. `answers`: one of each domain.
    """

    oldest: int
    newest: int = 0
    listed: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)


def faults(answer: Answer, versions: Mapping[str, Said]) -> Iterator[Fault]:
    """Every fault of an answer; a cut one by what came of it. Without `newest` any release is right."""
    if answer.first_token_s is None:
        yield "failed"
        return
    if answer.error or not answer.ended or sum(answer.words.values()) < answer.asked_tokens:
        yield "cut"
    known = {each.word for each in versions.values()}
    if len(answer.words) > 1 or not answer.words.keys() <= known:
        yield "mixed"
        return
    if not answer.words:
        return
    said, word = versions.get(answer.version or ""), next(iter(answer.words))
    if said is None or said.word != word:
        yield "mismarked"
        said = _of(word, answer.domain, versions)
    if said is None:
        return
    if said.domain != answer.domain:
        yield "other domain"
    if answer.pinned is not None:
        right = said == versions.get(answer.pinned)
    else:
        right = not answer.newest or answer.oldest <= said.release <= answer.newest
    if not right:
        yield "not live"


def faults_of_served(served: Served, versions: Mapping[str, Said]) -> Iterator[Fault]:
    """Every fault of what was listed and answered after a start."""
    releases = {versions[each].release if each in versions else None for each in served.listed.values()}
    number = next(iter(releases), None)
    if len(releases) != 1 or number is None or len(served.listed) < len(served.answers):
        yield "half"
    elif not served.oldest <= number <= served.newest:
        yield "not live"
    for answer in served.answers:
        yield from faults(replace(answer, oldest=served.oldest, newest=served.newest), versions)


def _of(word: str, domain: str, versions: Mapping[str, Said]) -> Said | None:
    """The newest version that says `word`, one of `domain` if there is any."""
    found = [said for said in versions.values() if said.word == word]
    return max(found, key=lambda said: (said.domain == domain, said.release), default=None)


@dataclass(frozen=True)
class Row:
    """A line of a run's table; one that has a goal says whether it is `met`."""

    what: str
    found: str
    goal: str = ""
    met: bool | None = None


def rows_of(rows: list[Row]) -> tuple[tuple[str, ...], ...]:
    """As the report's table has them: what, goal, found."""
    return tuple((row.what, row.goal, row.found) for row in rows)


def goals_of(rows: list[Row]) -> tuple[Goal, ...]:
    """The goals among them."""
    return tuple(Goal(row.what, row.goal, row.found, row.met) for row in rows if row.met is not None)


def none(what: str, count: int) -> Row:
    """Something of which there is to be none."""
    return Row(what, f"{count:,}", "0", count == 0)


def verdict(rows: list[Row]) -> str:
    return "met" if all(row.met is not False for row in rows) else "missed"
