"""Keeping a running server's engine busy, and asking its router while it is."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from crma_adapters.errors import ConfigError
from crma_eval.routing.latency.histogram import Histogram, read_histogram

STREAMS = 8  # requests that decode at once: past this, two cores give no more tokens a second
STREAM_TOKENS = 256
BACKBONE = "backbone"  # named, so that the load never asks the router
AUTO = "auto"

_TIMEOUT_S = 600


class Load:
    """Streams that ask for the next completion as soon as one ends; `tokens`: what they were given so far."""

    def __init__(self, url: str, streams: int) -> None:
        self.tokens = 0
        self._url = url
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._begun = threading.Event()
        self._threads = [threading.Thread(target=self._stream, daemon=True) for _ in range(streams)]

    def start(self) -> None:
        """Returns once the engine decodes. Raises `ConfigError` if it refuses."""
        for thread in self._threads:
            thread.start()
        self._begun.wait(_TIMEOUT_S)
        self.check()

    def check(self) -> None:
        """Raises `ConfigError` if a stream broke: what was measured then was not under load."""
        if self._failure is not None:
            raise ConfigError(f"{self._url}: the load broke off: {self._failure}")

    def stop(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S)

    def _stream(self) -> None:
        body = {"model": BACKBONE, "prompt": "Tell me", "max_tokens": STREAM_TOKENS, "ignore_eos": True}
        with httpx.Client(base_url=self._url, timeout=_TIMEOUT_S) as client:
            while not self._ends.is_set():
                try:
                    self._receive(client, body | {"stream": True, "temperature": 1.0})
                except httpx.HTTPError as error:
                    self._failure = error
                    self._ends.set()
                self._begun.set()

    def _receive(self, client: httpx.Client, body: dict[str, object]) -> None:
        with client.stream("POST", "/v1/completions", json=body) as reply:
            reply.raise_for_status()
            for line in reply.iter_lines():
                if self._ends.is_set():
                    return
                if line.startswith("data: {"):
                    with self._lock:
                        self.tokens += 1
                    self._begun.set()


@contextmanager
def busy(url: str, streams: int = STREAMS) -> Iterator[Load]:
    """The engine decodes within; raises `ConfigError` at the end if it did not all the time."""
    load = Load(url, streams)
    load.start()
    try:
        yield load
        load.check()
    finally:
        load.stop()


def ask_routed(client: httpx.Client, texts: Sequence[str], pause_s: float = 0.0) -> Histogram:
    """Ask `auto` about each text for one token of answer, `pause_s` after the one before; what the server's
    histogram gained.

    Each is a conversation of its own. Raises `ConfigError` if the server refuses.
    """
    former = read_histogram(client)
    for text in texts:
        time.sleep(pause_s)
        body = {"model": AUTO, "max_tokens": 1, "messages": [{"role": "user", "content": text}]}
        try:
            client.post("/v1/chat/completions", json=body).raise_for_status()
        except httpx.HTTPError as error:
            raise ConfigError(f"{client.base_url} refused a routed question: {error}") from error
    return read_histogram(client).since(former)
