"""Every question to every arm, interleaved on one server, a few at once."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from crma_adapters.errors import ConfigError
from crma_eval.learning.ablation.answers import Answer, AnswerLog
from crma_eval.learning.ablation.arms import Arm
from crma_eval.learning.ablation.questions import ShortQuestion
from crma_eval.learning.ablation.server import ServedModels, ask

ORDER_SEED = 0


@dataclass(frozen=True)
class Inquiry:
    """One question to one arm."""

    arm: Arm
    question: ShortQuestion

    @property
    def key(self) -> tuple[str, str, str]:
        """As `Answer.key`."""
        return self.arm.name, self.question.domain, self.question.text


@dataclass(frozen=True)
class Asking:
    """How questions are put: to which models, how long answers may be, how many at once."""

    models: ServedModels
    max_tokens: int
    in_flight: int


def interleaved(arms: Sequence[Arm], questions: Sequence[ShortQuestion]) -> list[Inquiry]:
    """Question by question, the arms of each in an order drawn from `ORDER_SEED`, so that whatever drifts in
    the server while it runs (load, cache) meets all arms alike.
    """
    generator = random.Random(ORDER_SEED)
    order = []
    for question in questions:
        order += [Inquiry(arm, question) for arm in generator.sample(list(arms), len(arms))]
    return order


def setup_digest(models: ServedModels, max_tokens: int, serve_flags: Sequence[str]) -> str:
    """sha256 hex over what the answers depend on: what is served, by content, and how it is asked."""
    parts = {
        "models": dict(models.exact),
        "base": models.base,
        "max_tokens": max_tokens,
        "serve_flags": list(serve_flags),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def ask_all(
    client: httpx.Client,
    order: Sequence[Inquiry],
    log: AnswerLog,
    asking: Asking,
    answered: Callable[[], object],
) -> list[Answer]:
    """Asks what the log does not have; returns the answers in order. `answered` is called after each.

    Raises:
        ConfigError: the server fails, or another model answered than was asked; answers so far are kept.
    """
    missing = [inquiry for inquiry in order if log.get(inquiry.key) is None]
    for _ in range(len(order) - len(missing)):
        answered()
    for answer in _asked(client, missing, asking):
        log.add(answer)
        answered()
    return [kept for inquiry in order if (kept := log.get(inquiry.key)) is not None]


def _asked(client: httpx.Client, missing: Sequence[Inquiry], asking: Asking) -> Iterator[Answer]:
    pool = ThreadPoolExecutor(asking.in_flight)
    try:
        yield from pool.map(lambda inquiry: _answer(client, inquiry, asking), missing)
    finally:
        pool.shutdown(cancel_futures=True)


def _answer(client: httpx.Client, inquiry: Inquiry, asking: Asking) -> Answer:
    question, model = inquiry.question, inquiry.arm.model(inquiry.question.domain)
    reply = ask(client, model, question.text, asking.max_tokens)
    expected = asking.models.exact[model]
    if reply.model != expected:
        raise ConfigError(
            f"{client.base_url}: asked {model!r}, which was {expected!r} at the start, and {reply.model!r} "
            "answered; leave the release alone while it is measured, and give the same command again"
        )
    return Answer(inquiry.arm.name, question.domain, question.text, reply.model, reply.text, reply.finish)
