"""`crma-eval fuzz` against a small server with faults put into it on purpose."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from crma_adapters.errors import ConfigError, DataError
from crma_eval.cli import main
from crma_eval.serving import fuzz as fuzzing
from crma_eval.serving.fuzz import Keys, generate, is_handled, kind_of, routes_of, try_door
from crma_server.http.access import access_to

KEYS = Keys("user", "boss")


class Part(BaseModel):
    text: str
    parts: "list[Part]" = []


class Body(BaseModel):
    model: str
    max_tokens: int = 16
    temperature: float | None = None
    part: Part | None = None


class Faults:
    """What is wrong with the server, and what it was sent."""

    def __init__(self) -> None:
        self.crashes = False
        self.open: str | None = None
        self.bodies: list[Any] = []


def application(faults: Faults) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        path = request.url.path
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        wanted = {"boss" if kind_of(f"{request.method} {path}") == "admin" else "user"}
        if path == "/health" or path == faults.open or key in wanted:
            response: Response = await call_next(request)
            return response
        return JSONResponse({"error": {"message": "key"}}, 401)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, __: RequestValidationError) -> Response:
        return JSONResponse({"error": {"message": "invalid"}}, 422)  # FastAPI's own echoes what breaks it

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"data": [{"id": "medical"}]}

    @app.post("/v1/responses/{thing}/cancel")
    async def ask(thing: str, body: Body, much: int = 1) -> Response:
        faults.bodies.append((thing, much, body))
        if faults.crashes:
            return Response("oh", 500)
        if body.model == "nobody":
            return JSONResponse({"error": {"message": "busy"}}, 503)
        return JSONResponse({})

    @app.get("/crma/v1/status")
    async def status() -> dict[str, str]:
        return {}

    return app


@contextmanager
def running(faults: Faults) -> Iterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(faults), log_level="critical"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def fuzz(url: str, folder: Path, *more: str) -> tuple[int, Any]:
    for name, key in (("key", KEYS.inference), ("admin", KEYS.admin)):
        (folder / name).write_text(key + "\n")
    flags = ["--key-file", str(folder / "key"), "--admin-key-file", str(folder / "admin")]
    status = main(["fuzz", "--url", url, *flags, "--report", str(folder), *more])
    return status, json.loads((folder / "fuzz.json").read_text())["figures"]


@pytest.fixture(autouse=True)
def small_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "GOAL_REQUESTS", 12)


def test_a_sound_server(tmp_path: Path) -> None:
    faults = Faults()
    with running(faults) as url:
        status, figures = fuzz(url, tmp_path, "--requests", "100")
    assert status == 0
    assert (figures["sent"], figures["failed"], figures["findings"]) == (100, 0, [])
    assert figures["statuses"].keys() == {
        "GET /health", "GET /v1/models", "POST /v1/responses/{thing}/cancel", "GET /crma/v1/status",
    }  # fmt: skip
    counts = figures["statuses"]["POST /v1/responses/{thing}/cancel"]
    assert counts["200"] > 2  # some get past the schema, else only validation was tested
    assert counts["422"] > 2
    markdown = (tmp_path / "fuzz.md").read_text()
    assert "| POST /v1/responses/{thing}/cancel" in markdown
    assert "3 of 3 met" in markdown


def test_a_failure_is_found_and_shown(tmp_path: Path) -> None:
    faults = Faults()
    faults.crashes = True
    with running(faults) as url:
        status, figures = fuzz(url, tmp_path, "--requests", "60")
    assert status == 1
    assert figures["failed"] >= 1
    found = figures["findings"][0]
    assert (found["status"], found["reply"]) == (500, "oh")
    assert "model" in json.loads(found["body"])
    assert len(figures["findings"]) <= 2  # those alike are not all kept


@pytest.mark.parametrize("path", ["/v1/models", "/crma/v1/status", "/docs"])
def test_an_open_door_is_found(tmp_path: Path, path: str) -> None:
    faults = Faults()
    faults.open = path
    with running(faults) as url:
        status, figures = fuzz(url, tmp_path, "--requests", "12")
    assert status == 1
    opened = [
        door["route"] for door in figures["doors"]
        if door["needs"] != "public" and set(door["statuses"].values()) != {401}
    ]  # fmt: skip
    assert opened == [f"GET {path}"]
    assert "OPEN" in (tmp_path / "fuzz.md").read_text()


def test_too_few_requests_show_nothing(tmp_path: Path) -> None:
    with running(Faults()) as url:
        assert fuzz(url, tmp_path, "--requests", "8")[0] == 1


def test_a_route_may_be_left_out_and_that_is_said(tmp_path: Path) -> None:
    with running(Faults()) as url:
        _, figures = fuzz(url, tmp_path, "--requests", "12", "--leave-out", "/v1/models")
    assert "GET /v1/models" not in figures["statuses"]
    assert figures["setting"]["left_out"] == ["/v1/models"]


def test_the_same_seed_gives_the_same_requests() -> None:
    document = application(Faults()).openapi()
    first, again, other = (
        [(case.url, case.content) for case in generate(document, "http://x", ["m"], 24, seed)]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_server_that_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_text("k")
    flags = ["--key-file", str(tmp_path / "key"), "--admin-key-file", str(tmp_path / "key")]
    assert main(["fuzz", "--url", "http://127.0.0.1:9", *flags]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_running_server_needs_both_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--url", "http://127.0.0.1:9"]) == 2
    assert "--admin-key-file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "kind", "reply", "handled"),
    [
        (200, "", "", True),
        (200, "application/json", "{}", True),
        (200, "application/json", "{", False),
        (204, "application/json", "", True),
        (422, "text/plain", "x", True),
        (500, "", '{"error": {"message": "x"}}', False),
        (502, "", '{"error": {"message": "x"}}', False),
        (503, "", '{"error": {"message": "x"}}', True),
        (503, "", "Service Unavailable", False),
        (504, "", "[]", False),
        (None, "", "", False),
    ],
)
def test_what_counts_as_handled(status: int | None, kind: str, reply: str, handled: bool) -> None:
    assert is_handled(status, kind, reply) is handled


def test_what_is_no_openapi_document() -> None:
    with pytest.raises(DataError, match="no paths"):
        routes_of([])


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        ("GET /health", "public"),
        ("POST /ping", "inference"),
        ("GET /metrics", "either"),
        ("GET /v1/models/{model}", "inference"),
        ("POST /v1/responses/{id}/cancel", "inference"),
        ("POST /v1/chat/completions", "inference"),
        ("POST /crma/v1/rollback", "admin"),
        ("POST /v1/load_lora_adapter", "admin"),
        ("GET /anything", "admin"),
        ("DELETE /v1/chat/completions", "admin"),
    ],
)
def test_which_key_a_route_needs(route: str, kind: str) -> None:
    assert kind_of(route) == kind
    method, _, path = route.replace("{", "").replace("}", "").partition(" ")
    assert access_to(method, path).value == kind  # the server, which evaluations know over HTTP alone


def test_a_door_is_tried_with_the_other_kinds_key() -> None:
    with running(Faults()) as url, httpx.Client(base_url=url) as client:
        door = try_door(client, "GET /crma/v1/status", KEYS)
        assert door.statuses == {"none": 401, "wrong": 401, "empty": 401, "inference": 401}


def test_no_requests_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--url", "http://x", "--requests", "0"]) == 2
    assert ConfigError.__name__ not in capsys.readouterr().err
