"""Every arm asked every question of one live server, interleaved; each answer kept in a file as it comes."""

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from crma_adapters.errors import ConfigError
from crma_eval.learning.ablation.questions import Arm, ShortQuestion

AUTO = "auto"


@dataclass(frozen=True)
class ServedModels:
    """`exact`: every model name and the exact name, drawn from content, that it stands for now. `base` is the
    base model's name, empty if the server does not say.
    """

    exact: Mapping[str, str]
    base: str


@dataclass(frozen=True)
class Reply:
    """What the server said: `model` is the exact name of what answered."""

    model: str
    text: str
    finish: str


def read_models(client: httpx.Client) -> ServedModels:
    """The server's model list. Raises `ConfigError` if there is no server or it is none of ours."""
    listed = _json(client, "GET", "/v1/models?names=all")
    try:
        roots = {str(entry["id"]): entry.get("root") for entry in listed["data"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{client.base_url}/v1/models is no model list of an OpenAI-compatible server: {listed!r:.200}"
        ) from error
    routing = [name for name, root in roots.items() if root is None and name != AUTO]
    exact = {name: str(root) for name, root in roots.items() if root is not None}
    return ServedModels(exact, routing[0] if routing else "")


def ask(client: httpx.Client, model: str, question: str, max_tokens: int) -> Reply:
    """The model's greedy answer. Raises `ConfigError` on anything but a complete answer."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "temperature": 0,
    }
    reply = _json(client, "POST", "/v1/chat/completions", body)
    try:
        choice = reply["choices"][0]
        found = Reply(reply["model"], choice["message"]["content"] or "", choice["finish_reason"])
    except (KeyError, IndexError, TypeError) as error:
        raise ConfigError(
            f"{client.base_url} gave {model!r}'s answer in another form than OpenAI's chat completions "
            f"({type(error).__name__}: {error}): {reply!r:.200}"
        ) from error
    if not all(isinstance(value, str) for value in vars(found).values()):
        raise ConfigError(
            f"{client.base_url} gave {model!r}'s answer without model, text or reason: {reply!r:.200}"
        )
    return found


def _json(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    try:
        reply = client.request(method, path, json=body)
    except httpx.TransportError as error:
        raise ConfigError(
            f"no answer from {client.base_url} ({type(error).__name__}: {error}); is crma-serve still "
            "running there? The answers so far are kept: give the same command again"
        ) from error
    if reply.status_code != 200:
        of = f" for {body['model']!r}" if body else ""
        raise ConfigError(f"{client.base_url}{path} answered {reply.status_code}{of}: {reply.text[:300]}")
    try:
        return reply.json()
    except ValueError as error:
        raise ConfigError(f"{client.base_url}{path} did not answer in JSON: {reply.text[:200]!r}") from error


Key = tuple[str, str, str]


@dataclass(frozen=True)
class Answer:
    """What one arm said to one question. `model` is the exact name of what answered; `finish` says why the
    answer ended (`length`: it was cut).
    """

    arm: str
    domain: str
    question: str
    model: str
    text: str
    finish: str

    @property
    def key(self) -> Key:
        """Which question to which arm."""
        return self.arm, self.domain, self.question


class AnswerLog:
    """The answers given under `setup`, held open for more; `damaged` lines were found and are ignored."""

    def __init__(self, path: Path, setup: str) -> None:
        self._setup = setup
        self._answers: dict[Key, Answer] = {}
        self.damaged = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]  # a killed writer may have left half a line
            self._read(whole)
            self._file = path.open("ab")
            self._file.truncate(len(whole))
        except OSError as error:
            raise ConfigError(
                f"{path}: answers cannot be kept here ({error}); give --work another"
            ) from error

    def __enter__(self) -> "AnswerLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, key: Key) -> Answer | None:
        """The answer, if it was given under this setup."""
        return self._answers.get(key)

    def add(self, answer: Answer) -> None:
        """Appends one answer and hands it to the operating system."""
        fields = dataclasses.asdict(answer) | {"setup": self._setup}
        line = json.dumps(fields | {"sha256": _seal(fields)}, ensure_ascii=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        self._answers[answer.key] = answer

    def _read(self, content: bytes) -> None:
        for line in filter(None, content.split(b"\n")):
            fields = _sound(line)
            if fields is None:
                self.damaged += 1
            elif fields.pop("setup") == self._setup:
                answer = Answer(**fields)
                self._answers[answer.key] = answer


def _sound(line: bytes) -> dict[str, Any] | None:
    """The line's fields without its seal; None if it is not what was written."""
    try:
        fields: dict[str, Any] = json.loads(line)
        return fields if fields.pop("sha256") == _seal(fields) else None
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _seal(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


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
