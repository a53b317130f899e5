"""Decisions timed alone, and inside a small server that streams tokens and counts its router's work."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from crma_adapters.errors import ConfigError
from crma_eval.cli import main
from crma_eval.routing.latency import (
    AUTO,
    BACKBONE,
    CALLERS,
    LENGTHS,
    WARM_UP,
    Alone,
    Histogram,
    Quantiles,
    ask_routed,
    busy,
    fresh_texts,
    goals_of,
    latency_report,
    measure_alone,
    measure_served,
    time_decisions,
)
from crma_router.policy import RoutingDecision
from crma_server.observability.metrics import Metrics

DECISION = RoutingDecision("a", 1.0, "routed", "", {"a": 1.0}, 0.0, 1.0)
FAST, SLOW = Quantiles(1.0, 2.0, 3.0), Quantiles(4.0, 8.0, 16.0)


class SleepyRouter:
    """Takes `delay_s` for a batch of any size, nothing for what it has seen."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.batches: list[int] = []
        self.seen: set[str] = set()
        self._delay_s = delay_s

    def route_known(self, text: str) -> RoutingDecision | None:
        return DECISION if text in self.seen else None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        time.sleep(self._delay_s)
        self.batches.append(len(texts))
        self.seen |= set(texts)
        return [DECISION] * len(texts)


def test_waiting_is_seen_and_is_no_cpu_time() -> None:
    waited, cpu = time_decisions(SleepyRouter(0.02), [f"text {at}" for at in range(8)], 1)
    assert len(waited) == len(cpu) == 8
    assert min(waited) >= 20 > 10 > sorted(cpu)[4]


def test_one_caller_asks_one_by_one_and_eight_together() -> None:
    alone, together = SleepyRouter(0.005), SleepyRouter(0.005)
    texts = [f"text {at}" for at in range(32)]
    time_decisions(alone, texts, 1)
    time_decisions(together, texts, 8)
    assert alone.batches == [1] * 32
    assert max(together.batches) >= 7 and sum(together.batches) == 32


def test_the_table_is_the_whole_grid_and_texts_asked_before_are_not_computed_again() -> None:
    router = SleepyRouter()
    found = measure_alone(router, 10, 0)
    cells = {(one.tokens, one.asked_before, one.callers) for one in found}
    assert cells == {(t, b, c) for t in LENGTHS for b in (False, True) for c in CALLERS}
    assert {one.decisions for one in found} == {10}
    assert sum(router.batches) == WARM_UP + 10 * len(LENGTHS) * len(CALLERS)  # the warm-up, then the new ones


def test_a_broken_router_is_heard() -> None:
    class Broken(SleepyRouter):
        def route_many(self, texts: list[str]) -> list[RoutingDecision]:
            raise ValueError(f"broken by {texts}")

    with pytest.raises(ValueError, match="broken"):
        time_decisions(Broken(), ["a"], 1)


def test_texts_are_distinct_of_their_length_and_the_same_for_one_seed() -> None:
    found = fresh_texts(8, 50, 3)
    assert len(set(found)) == 50 and {len(text.split()) for text in found} == {8}
    assert found == fresh_texts(8, 50, 3) != fresh_texts(8, 50, 4)


def timed(waited: Quantiles, *, before: bool = False, callers: int = 1, tokens: int = 8) -> Alone:
    return Alone(tokens, before, callers, waited, FAST, 7)


@pytest.mark.parametrize(
    ("found", "met"),
    [
        ([timed(FAST)], True),
        ([timed(Quantiles(5.0, 9.0, 15.0))], True),
        ([timed(FAST), timed(Quantiles(5.1, 6.0, 7.0), tokens=512)], False),
        ([timed(SLOW)], False),  # p99
        ([timed(FAST), timed(SLOW, callers=8)], True),  # eight at once wait for each other
        ([timed(FAST), timed(SLOW, before=True)], True),
    ],
)
def test_the_goal_is_one_callers_new_texts_at_every_length(found: list[Alone], met: bool) -> None:
    assert all(goal.met for goal in goals_of(found)) is met


EXPOSITION = """
# TYPE crma_router_seconds histogram
crma_router_seconds_bucket{le="0.001"} 2
crma_router_seconds_bucket{le="0.01"} 8
crma_router_seconds_bucket{le="+Inf"} 10
"""


def test_quantiles_are_interpolated_as_prometheus_does() -> None:
    found = Histogram.parse(EXPOSITION)
    assert found.count == 10
    assert found.quantile_ms(0.1) == pytest.approx(0.5)
    assert found.quantile_ms(0.5) == pytest.approx(5.5)
    assert found.quantile_ms(0.99) == 10  # past the last bound
    assert found.since(found).count == 0


def test_other_metrics_are_refused() -> None:
    with pytest.raises(ConfigError, match="crma-serve that routes"):
        Histogram.parse("# TYPE x counter\nx_total 3\n")


class StreamingServer(ThreadingHTTPServer):
    """Streams tokens on completions, routes chat questions (slower while it streams), shows /metrics."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.registry = CollectorRegistry()
        self.crma = Metrics(self.registry)
        self.crma.observe_decision(DECISION, 0.4)  # of before
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
        with busy(url, 3) as tokens:
            assert server.streaming >= 1 and tokens() >= 1
        assert {body["model"] for body in server.bodies} == {BACKBONE}
        assert all(body["ignore_eos"] for body in server.bodies)


def test_a_load_that_breaks_off_is_an_error_not_a_figure() -> None:
    with running() as (server, url):
        server.refuses = True
        with pytest.raises(ConfigError, match="the load broke off"), busy(url, 2):
            pass


def test_a_routed_question_is_asked_of_auto_and_counted_by_the_server() -> None:
    with running() as (server, url), httpx.Client(base_url=url) as client:
        start_s = time.monotonic()
        found = ask_routed(client, ["one", "two"], pause_s=0.05)
        assert found.count == 2 and time.monotonic() - start_s >= 0.1
        assert found.quantile_ms(0.99) <= 2
        assert [body["messages"][0]["content"] for body in server.bodies] == ["one", "two"]
        assert {body["model"] for body in server.bodies} == {AUTO}


def test_a_refused_question_is_said() -> None:
    with running() as (server, url), httpx.Client(base_url=url) as client:
        server.refuses = True
        with pytest.raises(ConfigError, match="refused a routed question"):
            ask_routed(client, ["one"])


def test_load_is_compared_with_rest() -> None:
    with running() as (server, url):
        found = measure_served(url, 4, idle_s=0.0)
    assert [one.tokens for one in found] == list(LENGTHS)
    for one in found:
        assert one.rest.p99 <= 2 < 7.5 <= one.loaded.p50
        assert one.decisions == 4 and one.tokens_per_s > 0
    asked = [body["messages"][0]["content"] for body in server.bodies if "messages" in body]
    assert len(asked) == len(set(asked)) == 4 + 2 * 4 * len(LENGTHS)  # none twice
    report = latency_report("words", [timed(FAST)], found)
    assert "embedder words" in report.markdown().lower() and "8 streams decoded" in report.markdown()
    assert json.loads(json.dumps(report.figures))["served"][0]["tokens"] == LENGTHS[0]


def test_without_a_store_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["router-latency", "--adapters", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--decisions", "--engine-decisions"])
def test_no_decisions_are_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["router-latency", flag, "0"]) == 2
    assert f"{flag} is 0" in capsys.readouterr().err
