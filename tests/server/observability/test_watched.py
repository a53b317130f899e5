import json
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from crma_adapters.errors import ConfigError
from crma_server.observability.decisions import Decisions
from crma_server.observability.watched import add_dashboard, watch_app
from crma_server.settings import Settings


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
    add_dashboard(app, Decisions(), lambda: False)
    client = TestClient(app)
    assert "<title>crma</title>" in client.get("/crma").text
    assert client.get("/crma/v1/decisions").json() == {"decisions": []}
