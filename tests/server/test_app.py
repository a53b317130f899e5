import asyncio
import json
import shlex
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from crma_adapters.errors import ConfigError
from crma_router.policy import Policy, RoutingDecision
from crma_server.app import add_dashboard, add_layers, example, ready_message, watch_app
from crma_server.http.keys import KeySource
from crma_server.http.limits import Drain
from crma_server.observability.decisions import Decisions
from crma_server.observability.metrics import Metrics
from crma_server.routing.catalog import Catalog, adapter_entry, backbone_entry
from crma_server.routing.selector import Live, Selector
from crma_server.settings import Settings, shown_admin_key, with_admin_key

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
    add_layers(
        app,
        settings,
        Selector(Live(Catalog({}, None), None, 1), Metrics(CollectorRegistry())),
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


CRMA = "a0afad0b46d1"


class KnowsLaw:
    policy = Policy()

    def route_known(self, text: str) -> RoutingDecision | None:  # noqa: ARG002
        return None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        return [self.route(text) for text in texts]

    def route(self, text: str) -> RoutingDecision:
        domain = "legal" if "contract" in text else None
        return RoutingDecision(domain, 0.9, "routed" if domain else "fallback", "", {}, 0, 1)


def live(*domains: str, router: KnowsLaw | None) -> Live:
    adapters = {name: adapter_entry(name, "0" * 12, CRMA) for name in domains}
    return Live(Catalog(adapters, backbone_entry(CRMA)), router, 1)


def test_the_example_is_one_the_router_sends_to_an_adapter() -> None:
    question, adapter = example(live("legal", router=KnowsLaw()))
    assert ("contract" in question, adapter) == (True, "legal")


def test_without_such_a_question_the_fallback_is_promised() -> None:
    assert example(live("cooking", router=KnowsLaw()))[1] == "backbone"
    assert example(live("legal", router=None))[1] == "backbone"


def test_the_curl_can_be_pasted_into_a_shell() -> None:
    message = ready_message("http://127.0.0.1:8000", live("legal", router=KnowsLaw()))
    assert message.startswith("crma ready on http://127.0.0.1:8000\n")
    command = shlex.split(message[message.index("curl") :])
    assert command[0] == "curl"
    assert "http://127.0.0.1:8000/v1/chat/completions" in command
    assert json.loads(command[command.index("-d") + 1])["model"] == "auto"


def test_the_link_to_the_dashboard_has_its_key_where_it_may_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path))
    own = with_admin_key(Settings())
    key = (tmp_path / "admin-key").read_text().strip()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert shown_admin_key(own, "127.0.0.1") == key
    assert shown_admin_key(own, "0.0.0.0") == shown_admin_key(own, None) == ""
    assert shown_admin_key(Settings(admin_keys=KeySource(("boss",))), "127.0.0.1") == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)  # a log, a service
    assert shown_admin_key(own, "127.0.0.1") == ""
    given = live("legal", router=None)
    assert "/crma\n" in ready_message("http://127.0.0.1:8000", given)
    assert f"/crma#key={key}\n" in ready_message("http://127.0.0.1:8000", given, admin_key=key)


def test_where_a_key_is_needed_the_example_has_a_place_for_it() -> None:
    given = live("legal", router=KnowsLaw())
    keyed, without = (
        ready_message("http://127.0.0.1:8000", given, needs_key=needs) for needs in (True, False)
    )
    assert "Authorization: Bearer $YOUR_KEY" in shlex.split(keyed[keyed.index("curl") :])
    assert "Authorization" not in without


class TurnsAway:
    """A layer that lets nobody through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        return await PlainTextResponse("no", 401)(scope, receive, send)


def test_what_another_layer_turns_away_is_logged_too(tmp_path: Path) -> None:
    app = FastAPI()
    app.add_middleware(TurnsAway)
    settings = Settings(request_log=str(tmp_path / "log"))
    watch_app(app, settings, Decisions(), traced=True)
    reply = TestClient(app).get("/v1/models?key=hidden")
    assert reply.status_code == 401
    text = (tmp_path / "log").read_text()
    logged = json.loads(text)
    assert (logged["status"], logged["path"]) == (401, "/v1/models")
    assert logged["request_id"] == reply.headers["x-request-id"]
    assert "hidden" not in text


def test_a_stack_that_was_built_before_is_watched_too(tmp_path: Path) -> None:
    app = FastAPI()
    app.add_middleware(TurnsAway)
    app.middleware_stack = app.build_middleware_stack()  # as model_hosting_container_standards does for vLLM
    watch_app(app, Settings(request_log=str(tmp_path / "log")), Decisions(), traced=False)
    reply = TestClient(app).get("/v1/models", headers={"x-request-id": "visit-7"})
    assert (reply.status_code, reply.headers["x-request-id"]) == (401, "visit-7")
    assert json.loads((tmp_path / "log").read_text())["request_id"] == "visit-7"


def test_without_a_log_requests_have_ids_all_the_same() -> None:
    app = FastAPI()
    watch_app(app, Settings(), Decisions(), traced=False)
    assert len(TestClient(app).get("/").headers["x-request-id"]) == 32


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="request log"):
        watch_app(FastAPI(), Settings(request_log=str(tmp_path / "a" / "b")), Decisions(), traced=False)


def test_the_dashboard_and_its_stream_are_there() -> None:
    app = FastAPI()
    add_dashboard(app, Decisions(), lambda: False, lambda: (3, None))
    client = TestClient(app)
    assert "<title>crma</title>" in client.get("/crma").text
    assert client.get("/crma/v1/decisions").json() == {"decisions": []}
    assert client.get("/crma/v1/map").json() == {"release": 3, "domains": [], "points": []}
