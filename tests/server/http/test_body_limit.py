"""Bodies: whole, bounded, and not waited for for ever."""

import asyncio
import json

import pytest
from starlette.types import Message, Receive, Scope, Send

from crma_server.http.body_limit import BodyLimit


class Reader:
    """Reads one message and then hears what else comes."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self.heard += [await receive(), await receive()]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def exchange(
    reader: Reader,
    messages: list[Message],
    headers: list[tuple[bytes, bytes]],
    silence_s: float = 5,
) -> list[Message]:
    """What is sent when `messages` come, and nothing after them."""
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        await BodyLimit(reader, 10, silence_s)(scope, receive, send)

    asyncio.run(run())
    return sent


def piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_arrives_whole_and_a_disconnect_is_heard() -> None:
    reader = Reader()
    sent = exchange(
        reader, [piece(b"01234", more=True), piece(b"56789", more=False), {"type": "http.disconnect"}], []
    )
    assert sent[0]["status"] == 200
    assert reader.heard == [piece(b"0123456789", more=False), {"type": "http.disconnect"}]


@pytest.mark.parametrize(
    ("messages", "headers"),
    [
        ([], [(b"content-length", b"11")]),
        ([], [(b"content-length", b"9" * 9000)]),
        ([piece(b"012345", more=True), piece(b"67890", more=True)], []),
        ([piece(b"0123456789x", more=False)], [(b"content-length", b"3")]),
    ],
)
def test_a_larger_one_is_refused_and_the_rest_not_read(
    messages: list[Message], headers: list[tuple[bytes, bytes]]
) -> None:
    reader = Reader()
    sent = exchange(reader, messages, headers)
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert "larger than 10 bytes" in json.loads(sent[1]["body"])["error"]["message"]
    assert reader.heard == []


def test_a_sender_that_falls_silent_is_told_and_let_go() -> None:
    reader = Reader()
    sent = exchange(reader, [piece(b"0", more=True)], [(b"content-length", b"5")], silence_s=0.05)
    assert sent[0]["status"] == 408
    assert reader.heard == []


def test_a_sender_that_leaves_is_not_answered() -> None:
    reader = Reader()
    assert exchange(reader, [piece(b"0", more=True), {"type": "http.disconnect"}], []) == []
    assert reader.heard == []
