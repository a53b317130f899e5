"""What takes too long is ended, and what worked on it hears of it."""

import asyncio
import json
from collections.abc import Awaitable

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from crma_server.http import limits
from crma_server.http.auth import AuthMiddleware
from crma_server.http.keys import ApiKeyStore, KeySource
from crma_server.http.limits import DeadlineMiddleware

STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Slow:
    """Waits, or streams a piece now and then, until it hears that the client left (or, deaf, never does)."""

    def __init__(self, kind: str = "whole", takes_s: float = 30, *, deaf: bool = False) -> None:
        self.kind = kind
        self.takes_s = takes_s
        self.deaf = deaf
        self.heard: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        while (await receive())["more_body"]:
            pass
        work = asyncio.create_task(self.work(send))
        try:
            if self.deaf:
                await work
                return
            ear = asyncio.ensure_future(receive())
            await asyncio.wait({work, ear}, return_when=asyncio.FIRST_COMPLETED)
            if ear.done():
                self.heard.append(ear.result()["type"])
            else:
                ear.cancel()
                await work
        except asyncio.CancelledError:
            self.heard.append("cancelled")
            raise
        finally:
            work.cancel()

    async def work(self, send: Send) -> None:
        if self.kind == "stream":
            await send({"type": "http.response.start", "status": 200, "headers": STREAM})
            await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        if self.kind == "begun":
            headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(self.takes_s)
        if self.kind == "whole":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def ask(
    app: Slow, limit_s: float, deadline_ms: str | None = None, refused: list[str] | None = None
) -> httpx.Response:
    layer = DeadlineMiddleware(app, limit_s, (refused if refused is not None else []).append)
    guard = AuthMiddleware(layer, ApiKeyStore(KeySource()), ApiKeyStore(KeySource()), lambda _: None)
    headers = {} if deadline_ms is None else {"x-crma-deadline-ms": deadline_ms}

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://x") as client:
            reply = await asyncio.wait_for(client.post("/v1/completions", headers=headers), 10)
            assert len(asyncio.all_tasks()) == 1  # nothing is left running
            return reply

    return asyncio.run(run())


@pytest.mark.parametrize(("limit_s", "deadline_ms"), [(0.05, None), (0, "50"), (9, "50"), (0.05, "9000")])
def test_504_before_the_first_byte(limit_s: float, deadline_ms: str | None) -> None:
    app, refused = Slow(), list[str]()
    reply = ask(app, limit_s, deadline_ms, refused)
    assert reply.status_code == 504
    assert reply.json()["error"] == {
        "message": "no whole answer within 0.05 s",
        "type": "TimeoutError",
        "param": None,
        "code": 504,
    }
    assert app.heard == ["http.disconnect"]
    assert refused == ["deadline"]


def test_a_stream_ends_with_an_error_event() -> None:
    app = Slow("stream")
    reply = ask(app, 0.05)
    assert reply.status_code == 200
    first, last, end = reply.text.split("\n\n")
    assert (first, end) == ("data: {}", "")
    name, data = last.split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == 504
    assert app.heard == ["http.disconnect"]


def test_a_whole_reply_that_has_begun_is_let_through() -> None:
    app = Slow("begun", takes_s=0.2)
    reply = ask(app, 0.05)
    assert reply.text == "{}"
    assert app.heard == []


@pytest.mark.parametrize(("limit_s", "deadline_ms"), [(0, None), (5, None), (5, "5000")])
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_what_is_in_time_passes(limit_s: float, deadline_ms: str | None, kind: str) -> None:
    reply = ask(Slow(kind, takes_s=0.01), limit_s, deadline_ms)
    assert reply.status_code == 200
    assert reply.text.endswith("{}")


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_what_does_not_listen_is_cancelled(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(limits, "_GRACE_S", 0.1)
    app = Slow(kind, deaf=True)
    reply = ask(app, 0.05)
    assert reply.status_code == (504 if kind == "whole" else 200)
    assert app.heard == ["cancelled"]


@pytest.mark.parametrize("value", ["0", "-5", "x", "", "1.5", "9" * 30, "1e3"])
def test_a_deadline_that_is_none_is_a_400(value: str) -> None:
    app = Slow(takes_s=0)
    reply = ask(app, 1, value)
    assert reply.status_code == 400
    assert "x-crma-deadline-ms" in reply.json()["error"]["message"]


def test_an_error_of_the_application_is_not_hidden() -> None:
    class Broken(Slow):
        async def work(self, send: Send) -> None:  # noqa: ARG002
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        ask(Broken(deaf=True), 5)


def test_a_request_that_is_cancelled_cancels_its_work() -> None:
    app = Slow(deaf=True)
    layer = DeadlineMiddleware(app, 30, lambda _: None)
    guard = AuthMiddleware(layer, ApiKeyStore(KeySource()), ApiKeyStore(KeySource()), lambda _: None)

    async def forever() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "more_body": False}

    async def send(_: Message) -> None:
        raise AssertionError

    async def run() -> None:
        scope: Scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
        task = asyncio.create_task(_await(guard(scope, forever, send)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    assert app.heard == ["cancelled"]


async def _await(work: Awaitable[None]) -> None:
    await work
