"""Mixed load: streams and whole answers, routed and named, clients that leave, requests that are refused.

Owns: what each kind of request is and whether its answer was right. Knows nothing of what is measured.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

TOKENS = 24
_TIMEOUT_S = 300.0
_QUESTIONS = (
    "What are the symptoms of anemia?",
    "What makes a contract legally binding?",
    "How do I reverse a linked list?",
    "What is the difference between a stock and a bond?",
    "Why is the sky blue?",
    "Hello, how are you?",
)


@dataclass(frozen=True)
class Done:
    """One request: when it ended and how long it took, in seconds of the monotonic clock; what was wrong."""

    kind: str
    end_s: float
    latency_s: float
    fault: str | None


Kind = Callable[[httpx.Client, int], str | None]


class MixedLoad:
    """`workers` clients that ask without pause, each one kind of request after another."""

    def __init__(self, url: str, headers: Mapping[str, str], models: Sequence[str], workers: int) -> None:
        """`models` are names to ask beside `auto`."""
        self._url = url
        self._headers = dict(headers)
        self._models = models
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._done: list[Done] = []
        self._threads = [threading.Thread(target=self._ask, args=(at,), daemon=True) for at in range(workers)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Done]:
        """Let what is under way end; everything that was asked, in the order it ended."""
        self._ends.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S)
        return sorted(self._done, key=lambda done: done.end_s)

    def _ask(self, worker: int) -> None:
        kinds = self._kinds()
        with httpx.Client(
            base_url=self._url, headers=self._headers, timeout=_TIMEOUT_S, trust_env=False
        ) as client:
            number = worker
            while not self._ends.is_set():
                name, kind = kinds[number % len(kinds)]
                start_s = time.monotonic()
                try:
                    fault = kind(client, number)
                except httpx.HTTPError as error:
                    fault = f"{type(error).__name__}: {error}"
                end_s = time.monotonic()
                with self._lock:
                    self._done.append(Done(name, end_s, end_s - start_s, fault))
                number += 1

    def _kinds(self) -> list[tuple[str, Kind]]:
        return [
            ("stream", self._stream),
            ("answer", self._answer),
            ("leaver", self._leave),
            ("stream", self._stream),
            ("refused", _refused),
            ("answer", self._answer),
            ("read", _read),
        ]

    def _chat(self, number: int, **more: Any) -> dict[str, Any]:
        names = ("auto", *self._models)
        content = f"{_QUESTIONS[number % len(_QUESTIONS)]} ({number})"
        return {
            "model": names[number % len(names)],
            "messages": [{"role": "user", "content": content}],
            "max_tokens": TOKENS,
            "ignore_eos": True,
        } | more

    def _stream(self, client: httpx.Client, number: int) -> str | None:
        with client.stream("POST", "/v1/chat/completions", json=self._chat(number, stream=True)) as reply:
            lines = [line for line in reply.iter_lines() if line.startswith("data: ")]
        if reply.status_code != 200:
            return f"a stream got {reply.status_code}"
        return None if lines and lines[-1] == "data: [DONE]" else "a stream was cut"

    def _answer(self, client: httpx.Client, number: int) -> str | None:
        reply = client.post("/v1/chat/completions", json=self._chat(number))
        if reply.status_code != 200:
            return f"an answer got {reply.status_code}"
        tokens = reply.json().get("usage", {}).get("completion_tokens")
        return None if tokens == TOKENS else f"an answer has {tokens} tokens, not {TOKENS}"

    def _leave(self, client: httpx.Client, number: int) -> str | None:
        """Leaves a long answer after its first event."""
        body = self._chat(number, stream=True, max_tokens=40 * TOKENS)
        with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            if reply.status_code != 200:
                return f"a leaver got {reply.status_code}"
            first = next(iter(reply.iter_lines()), "")
        return None if first.startswith("data: ") else "a leaver saw no event"


def _refused(client: httpx.Client, number: int) -> str | None:
    """A name nobody has, or messages that are none."""
    body = {"model": "nobody", "messages": []} if number % 2 else {"model": "auto", "messages": "none"}
    status = client.post("/v1/chat/completions", json=body).status_code
    return None if 400 <= status < 500 else f"a bad request got {status}"


def _read(client: httpx.Client, number: int) -> str | None:
    path = "/v1/models" if number % 2 else "/metrics"
    status = client.get(path).status_code
    return None if status == 200 else f"GET {path} got {status}"
