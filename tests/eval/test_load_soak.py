"""`crma-eval load --soak`: its arithmetic, its looks at processes, and its load on a small server."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from crma_adapters.errors import ConfigError
from crma_eval.cli import main
from crma_eval.serving.load import soak as figures
from crma_eval.serving.load.clients import Clients
from crma_eval.serving.load.command import renamed
from crma_eval.serving.load.processes import Footprint
from crma_eval.serving.load.soak import TOKENS, Done, MixedLoad, Sample, figures_of, held_by

MIB = 2**20


def samples(rss: list[float], files: list[int] | None = None, step_s: float = 10.0) -> list[Sample]:
    open_files = files or [100] * len(rss)
    return [
        Sample(step_s * at, Footprint(int(mib * MIB), count, 2))
        for at, (mib, count) in enumerate(zip(rss, open_files, strict=True))
    ]


def answers(latencies: list[float], end_s: float = 1200.0, kind: str = "answer") -> list[Done]:
    step_s = end_s / len(latencies)
    return [Done(kind, step_s * (at + 0.5), latency, None) for at, latency in enumerate(latencies)]


def test_a_steady_server() -> None:
    found = figures_of(samples([500.0] * 121), answers([1.0] * 600))
    assert (found.duration_s, found.requests, found.faults) == (1200.0, 600, {})
    assert found.slope_bytes_per_h == pytest.approx(0, abs=1e-3)
    assert (found.p99_first_s, found.p99_last_s) == (1.0, 1.0)
    assert found.reached


def test_a_leak_is_a_slope_and_what_grows_while_it_warms_up_is_none() -> None:
    leaking = figures_of(samples([500 + at / 6 for at in range(121)]), answers([1.0] * 600))
    assert leaking.slope_bytes_per_h / MIB == pytest.approx(60)
    assert leaking.growth == pytest.approx(15 / 512.5, rel=0.01)
    assert not leaking.reached
    settling = [200.0 + 300 * min(at / 25, 1) for at in range(121)]
    assert figures_of(samples(settling), answers([1.0] * 600)).reached


def test_open_files_that_grow_are_found_and_one_outlier_is_not() -> None:
    rss = [500.0] * 121
    growing = figures_of(samples(rss, [100 + at // 4 for at in range(121)]), answers([1.0] * 600))
    assert growing.files_last - growing.files_first > 8
    assert not growing.reached
    outlier = figures_of(samples(rss, [100] * 120 + [190]), answers([1.0] * 600))
    assert outlier.files_last == 100


def test_answers_that_get_slower_are_found() -> None:
    found = figures_of(samples([500.0] * 121), answers([1.0] * 570 + [2.5] * 30))
    assert (found.p99_first_s, found.p99_last_s) == (1.0, 2.5)
    assert not found.reached


def test_one_wrong_answer_is_enough() -> None:
    done = answers([1.0] * 600)
    found = figures_of(samples([500.0] * 121), [*done[:-1], Done("stream", 1199.0, 1.0, "a stream was cut")])
    assert found.faults == {"a stream was cut": 1}
    assert not found.reached


def test_latencies_are_of_answers_alone() -> None:
    found = figures_of(samples([500.0] * 121), answers([1.0] * 600) + answers([9.0] * 600, kind="leaver"))
    assert found.p99_last_s == 1.0


def test_a_process_that_is_gone_cannot_be_looked_at() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(ConfigError, match="cannot be looked at"):
        held_by(process.pid)


class SmallServer(ThreadingHTTPServer):
    """Answers as crma-serve would, or not quite."""

    daemon_threads = True

    def __init__(self, fault: str | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.asked: list[Any] = []
        self.left = 0


class Handler(BaseHTTPRequestHandler):
    server: SmallServer

    def do_GET(self) -> None:
        names = [("auto", None), ("medical", "medical@1"), ("medical@1", "medical@1"), ("base", "base")]
        self._send(200, {"data": [{"id": name, "root": root} for name, root in names]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        if body["model"] == "nobody" or body["messages"] == "none":
            self._send(500 if self.server.fault == "crash" else 404, {})
        elif body.get("stream"):
            self._stream(body["max_tokens"])
        else:
            tokens = body["max_tokens"] - (self.server.fault == "short")
            self._send(200, {"usage": {"completion_tokens": tokens}})

    def _stream(self, tokens: int) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for at in range(tokens):
                self.wfile.write(f'data: {{"at": {at}}}\n\n'.encode())
                if tokens > TOKENS:
                    time.sleep(0.001)
            if self.server.fault != "cut":
                self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.server.left += 1

    def _send(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(fault: str | None = None) -> Iterator[tuple[SmallServer, str]]:
    server = SmallServer(fault)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def load(url: str, enough: int = 40) -> list[Done]:
    """What some clients did until `enough` requests were done."""

    async def some() -> list[Done]:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            clients = Clients(MixedLoad(client, ["medical"]).ask)
            clients.begin(3, 0)
            deadline_s = time.monotonic() + 30
            while len(clients.done) < enough and time.monotonic() < deadline_s:
                await asyncio.sleep(0.01)
            await clients.end()
            return clients.done

    return asyncio.run(some())


def test_every_kind_of_request_is_made_and_a_sound_server_has_no_fault() -> None:
    with running() as (server, url):
        done = load(url)
        assert {one.kind for one in done} == {"stream", "answer", "leaver", "refused", "read"}
        assert [one.fault for one in done if one.fault] == []
        assert {body["model"] for body in server.asked} == {"auto", "medical", "nobody"}
        assert server.left >= 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("cut", "a stream was cut"),
        ("short", f"an answer has {TOKENS - 1} tokens, not {TOKENS}"),
        ("crash", "a bad request got 500"),
    ],
)
def test_faults_are_seen(fault: str, says: str) -> None:
    with running(fault) as (_, url):
        assert {one.fault for one in load(url)} == {None, says}


def test_the_command_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "GOAL_GROWTH", 10.0)
    monkeypatch.setattr(figures, "GOAL_LATENCY", 1000.0)
    monkeypatch.setattr(figures, "GOAL_FILES", 1000)
    with running() as (_, url):
        where = ["--url", url, "--pid", str(os.getpid()), "--report", str(tmp_path)]
        assert main(["soak", *where, "--minutes", "0.03", "--workers", "2", "--sample-s", "0.1"]) == 0
    document = json.loads((tmp_path / "soak.json").read_text())["figures"]
    assert document["requests"] > 10
    assert document["memory_mean_bytes"] > 10 * MIB
    assert document["faults"] == {}
    assert "p99 of an answer, last minute" in (tmp_path / "soak.md").read_text()


@pytest.mark.parametrize("flags", [("--soak", "0"), ("--soak", "nan"), ("--url", "http://x"), ("--pid", "1")])
def test_flags_that_mean_nothing(flags: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "--soak", *flags]) == 2
    assert "--" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("swaps --swaps 5 --report x", "load --swaps --swaps 5 --report x"),
        ("crashes --kills=3", "load --crashes --crashes=3"),
        ("soak --minutes 2 --workers 4", "load --soak --soak 2 --clients 4"),
        ("bench --minutes 2", "bench --minutes 2"),
        ("", ""),
    ],
)
def test_old_names_still_work(old: str, new: str) -> None:
    assert renamed(old.split()) == new.split()
