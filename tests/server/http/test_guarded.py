"""All layers together around an application, behind a real HTTP server."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import StreamingResponse

from crma_server.http.drain import Drain
from crma_server.http.guarded import guard_app
from crma_server.http.key_ring import KeySource
from crma_server.settings import Settings

KEY = {"authorization": "Bearer user"}


@dataclass
class Running:
    """A guarded application that streams until its client leaves, and what became of it."""

    url: str
    drain: Drain
    refused: list[str]
    reasons: list[str] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)

    def wait_until_idle(self) -> None:
        deadline_s = time.monotonic() + 5
        while self.drain.in_flight:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def build(running: Running) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def stream(pause_s: float = 0.01) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"data: {}\n\n"
                    await asyncio.sleep(pause_s)
            finally:
                running.left.set()

        return StreamingResponse(pieces(), media_type="text/event-stream")

    @app.post("/v1/completions")
    async def echo(request: Request) -> int:
        return len(await request.body())

    settings = Settings(
        inference_keys=KeySource(("user",)), max_in_flight=2, max_body_bytes=1000, deadline_s=30
    )
    guard_app(
        app,
        settings,
        running.drain,
        running.refused.append,
        lambda: running.reasons[0] if running.reasons else None,
    )
    # As vLLM does, after its plugins.
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    return app


@pytest.fixture
def running() -> Iterator[Running]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    it = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", Drain(), [])
    server = uvicorn.Server(uvicorn.Config(build(it), log_level="error"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield it
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def test_a_client_that_leaves_a_stream_frees_its_place(running: Running) -> None:
    with httpx.Client(base_url=running.url, headers=KEY, timeout=10) as client:
        for _ in range(5):  # more than there are places
            running.left.clear()
            with client.stream("POST", "/v1/chat/completions") as reply:
                assert reply.status_code == 200
                assert next(reply.iter_lines()) == "data: {}"
            assert running.left.wait(5)
            running.wait_until_idle()
        assert client.post("/v1/completions", content=b"abc").json() == 3
    assert running.refused == []


def test_places_run_out_and_the_rest_hear_when_to_come_back(running: Running) -> None:
    with httpx.Client(base_url=running.url, headers=KEY, timeout=10) as client:
        with client.stream("POST", "/v1/chat/completions"), client.stream("POST", "/v1/chat/completions"):
            refused = client.post("/v1/completions", content=b"abc")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        running.wait_until_idle()
        assert client.post("/v1/completions", content=b"abc").status_code == 200


@pytest.mark.parametrize("pause_s", [0.01, 0])  # 0: always a piece on its way, also when the time is up
def test_a_deadline_ends_a_stream_and_frees_its_place(running: Running, pause_s: float) -> None:
    with httpx.Client(base_url=running.url, headers=KEY, timeout=10) as client:
        params, headers = {"pause_s": pause_s}, {"x-crma-deadline-ms": "200"}
        reply = client.post("/v1/chat/completions", params=params, headers=headers)
        assert reply.text.splitlines()[-3] == "event: error"
        assert running.left.wait(5)
        running.wait_until_idle()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(running: Running, chunked: bool) -> None:
    body = b"x" * 1001
    content = iter([body[:600], body[600:]]) if chunked else body
    assert httpx.post(running.url + "/v1/completions", headers=KEY, content=content).status_code == 413
    assert httpx.post(running.url + "/v1/completions", headers=KEY, content=body[:1000]).json() == 1000


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/completions"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
        ("POST", "/ready"),
    ],
)
def test_nothing_but_probes_without_a_key(running: Running, method: str, path: str) -> None:
    assert httpx.request(method, running.url + path).status_code == 401


def test_a_browser_may_ask_first_and_reads_the_refusal(running: Running) -> None:
    origin = {"origin": "https://example.org", "access-control-request-method": "POST"}
    assert httpx.options(running.url + "/v1/completions", headers=origin).status_code == 200
    refused = httpx.post(running.url + "/v1/completions", headers={"origin": "https://example.org"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "*"


def test_readiness(running: Running) -> None:
    assert httpx.get(running.url + "/ready").json() == {"ready": True, "reason": None}
    running.reasons.append("loading release 3")
    reply = httpx.get(running.url + "/ready")
    assert (reply.status_code, reply.json()) == (503, {"ready": False, "reason": "loading release 3"})
    running.reasons.clear()
    running.drain.stopping = True
    assert httpx.get(running.url + "/ready").json()["reason"] == "stopping"
    assert httpx.post(running.url + "/v1/completions", headers=KEY, content=b"a").status_code == 503
