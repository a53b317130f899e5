"""The load on a server, against a small one that streams tokens and counts its router's work."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from crma_adapters.errors import ConfigError
from crma_eval.routing.latency.load import AUTO, BACKBONE, ask_routed, busy
from crma_eval.routing.latency.table import LENGTHS
from crma_eval.routing.latency.under_load import STEPS, compare, ratio
from crma_router.policy import RoutingDecision
from crma_server.observability.metrics import Metrics

DECISION = RoutingDecision("a", 1.0, "routed", "", {"a": 1.0}, 0.0, 1.0)


class StreamingServer(ThreadingHTTPServer):
    """Streams tokens on completions, routes chat questions (slower while it streams), shows /metrics."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.registry = CollectorRegistry()
        self.crma = Metrics(self.registry)
        self.bodies: list[dict[str, Any]] = []
        self.streaming = 0
        self.refuses = False
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    server: StreamingServer

    def do_GET(self) -> None:
        self._send(200, generate_latest(self.server.registry))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if self.server.refuses:
            self._send(503, b"{}")
        elif body.get("stream"):
            self._stream(body["max_tokens"])
        else:
            self.server.crma.observe_decision(DECISION, 0.008 if self.server.streaming else 0.0015)
            self._send(200, b"{}")

    def _stream(self, tokens: int) -> None:
        with self.server.lock:
            self.server.streaming += 1
        self.send_response(200)
        self.end_headers()
        try:
            for at in range(tokens):
                self.wfile.write(f'data: {{"at": {at}}}\n\n'.encode())
                threading.Event().wait(0.002)
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:  # the client left
            pass
        finally:
            with self.server.lock:
                self.server.streaming -= 1

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class FastRouter:
    def __init__(self) -> None:
        self.seen: set[str] = set()

    def route_known(self, text: str) -> RoutingDecision | None:
        return DECISION if text in self.seen else None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        self.seen |= set(texts)
        return [DECISION] * len(texts)


@contextmanager
def running() -> Iterator[tuple[StreamingServer, str]]:
    server = StreamingServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_the_engine_decodes_all_the_while_and_the_router_is_left_alone() -> None:
    with running() as (server, url):
        with busy(url, 3) as load:
            assert server.streaming >= 1
            assert load.tokens >= 1
        assert {body["model"] for body in server.bodies} == {BACKBONE}
        assert all(body["ignore_eos"] for body in server.bodies)


def test_a_load_that_breaks_off_is_an_error_not_a_figure() -> None:
    with running() as (server, url):
        server.refuses = True
        with pytest.raises(ConfigError, match="the load broke off"), busy(url, 2):
            pass


def test_a_routed_question_is_asked_of_auto_and_counted_by_the_server() -> None:
    with running() as (server, url), httpx.Client(base_url=url) as client:
        server.crma.observe_decision(DECISION, 0.4)  # of before
        start_s = time.monotonic()
        found = ask_routed(client, ["one", "two"], pause_s=0.05)
        assert found.count == 2 and time.monotonic() - start_s >= 0.1
        assert found.quantile_ms(0.99) <= 2
        assert [body["messages"][0]["content"] for body in server.bodies] == ["one", "two"]
        assert {body["model"] for body in server.bodies} == {AUTO}


def test_a_refused_question_is_said() -> None:
    with running() as (server, url), httpx.Client(base_url=url) as client:
        server.crma.observe_decision(DECISION, 0.4)
        server.refuses = True
        with pytest.raises(ConfigError, match="refused a routed question"):
            ask_routed(client, ["one"])


def test_load_is_compared_with_rest() -> None:
    ticks, steps = iter([10.0, 12.0]), list[int]()
    with running() as (server, url):
        server.crma.observe_decision(DECISION, 0.4)
        found = compare(
            url, FastRouter(), 4, lambda: next(ticks), lambda: steps.append(1), streams=2, idle_s=0.0
        )
    assert [one.tokens for one in found.service] == [one.tokens for one in found.side] == list(LENGTHS)
    for one in found.service:
        assert one.rest.p99 <= 2 < 7.5 <= one.loaded.p50
    assert all(one.loaded.decisions == one.rest.decisions == 4 for one in found.side)
    assert found.tokens_per_s > 0
    assert len(steps) == STEPS
    asked = [body["messages"][0]["content"] for body in server.bodies if "messages" in body]
    assert (
        len(asked) == len(set(asked)) == 4 + 2 * 4 * len(LENGTHS)
    )  # none twice: nothing is answered from memory


def test_the_ratio() -> None:
    assert ratio(6, 3) == 2
    assert ratio(1, 0) == float("inf")


def test_at_rest_the_engine_is_left_alone_first_and_under_load_not(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = list[float]()
    monkeypatch.setattr(time, "sleep", slept.append)
    with running() as (server, url):
        server.crma.observe_decision(DECISION, 0.4)
        compare(url, FastRouter(), 2, iter([1.0, 2.0]).__next__, streams=2, idle_s=1.5)
    of_one_length = 2 + 1  # before each of two requests, and before the router beside the server
    half = len(LENGTHS) * of_one_length
    assert slept[-2 * half :] == [1.5] * half + [0.0] * half
