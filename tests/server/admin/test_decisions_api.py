"""The route on an application of its own; streams are read message by message, as a server would."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message

from crma_server.admin import api
from crma_server.admin.api import decisions_router
from crma_server.http.request import RequestContext
from crma_server.observability.decisions import Decisions

PATH = "/crma/v1/decisions"
Make = Callable[..., RequestContext]


def application(decisions: Decisions, closing: Callable[[], bool] = lambda: False) -> FastAPI:
    app = FastAPI()
    app.include_router(decisions_router(decisions, closing))
    return app


class Stream:
    """A client that listens to the stream of `app` until it leaves."""

    def __init__(self, app: FastAPI, headers: dict[str, str] | None = None, query: str = "") -> None:
        given = {"accept": "text/event-stream"} | (headers or {})
        self._scope = {
            "type": "http", "method": "GET", "path": PATH, "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }  # fmt: skip
        self._left = asyncio.Event()
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self.task = asyncio.create_task(app(self._scope, self._receive, self._sent.put))

    async def _receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def start(self) -> Message:
        return await self._sent.get()

    async def event(self) -> dict[str, Any] | None:
        """The next event's data; None for a comment."""
        text = (await self._sent.get())["body"].decode()
        assert text.endswith("\n\n")
        lines = dict(line.partition(":")[::2] for line in text.strip().splitlines())
        if "data" not in lines:
            return None
        document: dict[str, Any] = json.loads(lines["data"])
        assert int(lines["id"]) == document["id"]
        return document

    async def leave(self) -> None:
        self._left.set()
        await self.task


def test_what_is_kept_comes_as_json(routed: Make) -> None:
    decisions = Decisions()
    for number in range(3):
        decisions.add(routed(f"r-{number}"))
    client = TestClient(application(decisions))
    found = client.get(PATH).json()["decisions"]
    assert [each["request_id"] for each in found] == ["r-0", "r-1", "r-2"]
    assert found[0]["router"]["scores"] == {"medical": 0.9877, "legal": 0.01}
    assert [each["id"] for each in client.get(PATH, params={"after": 2}).json()["decisions"]] == [3]
    assert client.get(PATH, params={"after": "x"}).status_code == 422


def test_a_stream_gives_the_kept_ones_and_then_each_as_it_happens(routed: Make) -> None:
    async def run() -> None:
        decisions = Decisions()
        decisions.add(routed("before"))
        stream = Stream(application(decisions))
        start = await stream.start()
        assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
        assert (b"cache-control", b"no-store") in start["headers"]
        assert await stream.event() is None
        seen = [await stream.event()]
        for number in range(2):
            await asyncio.sleep(0.01)
            decisions.add(routed(f"during-{number}"))
            seen.append(await stream.event())
        assert [each and each["request_id"] for each in seen] == ["before", "during-0", "during-1"]
        await stream.leave()

    asyncio.run(asyncio.wait_for(run(), 5))


@pytest.mark.parametrize(("headers", "query"), [({"last-event-id": "2"}, ""), ({}, "after=2")])
def test_a_stream_goes_on_where_it_broke_off(routed: Make, headers: dict[str, str], query: str) -> None:
    async def run() -> None:
        decisions = Decisions()
        for number in range(3):
            decisions.add(routed(f"r-{number}"))
        stream = Stream(application(decisions), headers, query)
        await stream.start()
        assert await stream.event() is None
        event = await stream.event()
        assert event is not None and event["request_id"] == "r-2"
        await stream.leave()

    asyncio.run(asyncio.wait_for(run(), 5))


def test_a_quiet_stream_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_LOOK_S", 0.01)
    monkeypatch.setattr(api, "HEARTBEAT_S", 0.02)

    async def run() -> None:
        stream = Stream(application(Decisions()))
        await stream.start()
        assert [await stream.event() for _ in range(3)] == [None, None, None]
        await stream.leave()

    asyncio.run(asyncio.wait_for(run(), 5))


def test_a_stream_ends_when_the_server_wants_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_LOOK_S", 0.01)
    closing = False

    async def run() -> None:
        nonlocal closing
        stream = Stream(application(Decisions(), lambda: closing))
        await stream.start()
        await asyncio.sleep(0.03)
        assert not stream.task.done()
        closing = True
        await stream.task

    asyncio.run(asyncio.wait_for(run(), 5))
