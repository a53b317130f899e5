"""Bodies: whole, bounded, and not waited for for ever."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from crma_server.http.body import DEEPEST, BodyMiddleware, has_broken_text, is_too_deep
from crma_server.http.request import RequestContext


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
        await BodyMiddleware(reader, 10, silence_s)(scope, receive, send)

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


def broken(body: bytes) -> bool:
    return has_broken_text(body, lambda: RequestContext(body=body).value)


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a": "\ud800"}',
        rb'{"a": "x\uDFFFy"}',
        rb'{"\ud800": 1}',
        rb'["\ude00\ud83d"]',
        rb'["\ud83d\ud83d\ude00"]',
        rb'["\ud83d \ude00"]',
    ],
)
def test_half_a_pair_is_found(body: bytes) -> None:
    assert broken(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        rb'["\ud83d\ude00"]',
        rb'["\uD83D\uDE00\uD83D\uDE00"]',
        rb'["\\ud800 is written like this"]',
        rb'["\u00e9 \ud7ff \ue000"]',
        rb"not json \ud800",
        b"[" * 9000 + rb'"\ud800"',
        b"\xff\xfe\\ud800",
    ],
)
def test_what_is_whole_or_no_json_passes(body: bytes) -> None:
    assert not broken(body)


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
)
def test_it_agrees_with_the_encoder(value: object) -> None:
    def writes() -> bool:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return False
        return True

    assert broken(json.dumps(value).encode("ascii")) is not writes()


@given(st.lists(st.characters(categories=["Cs", "So", "Lu"]), max_size=6))
def test_it_agrees_where_there_are_many_halves(characters: list[str]) -> None:
    value = "".join(characters)
    as_python_reads_it = json.loads(json.dumps(value))
    expected = any("\ud800" <= character <= "\udfff" for character in as_python_reads_it)
    assert broken(json.dumps(value).encode("ascii")) is expected


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * DEEPEST + b"]" * DEEPEST, False),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), True),
        (b"[" * 100_000, True),
        (b'{"a":' * (DEEPEST + 1), True),
        (json.dumps(["[{" * 1000]).encode(), False),
        (json.dumps(['\\"[[[' * 1000]).encode(), False),
        (json.dumps([[]] * 1000).encode(), False),
        (b'"' + b"[" * 1000, False),
    ],
)
def test_nesting(body: bytes, deep: bool) -> None:
    assert is_too_deep(body) is deep
