"""Replies on their way out: marks, members added in passing, what pages may read."""

import json
from itertools import pairwise

import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware.cors import CORSMiddleware

from crma_server.http.response import MAX_LINE_BYTES, FirstEventSplicer, show_marks_to_pages, splice_member

VALUE = b'{"adapter":"medical"}'
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "crma"), JSON_VALUES, max_size=4)


@given(DOCUMENTS, st.sampled_from([b"", b" ", b"\n"]), st.booleans())
def test_a_member_is_added_and_the_rest_kept(
    document: dict[str, object], space: bytes, ascii_only: bool
) -> None:
    body = space + json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") + space
    spliced = splice_member(body, "crma", VALUE)
    assert spliced is not None
    assert json.loads(spliced.decode("utf-8", "surrogatepass")) == document | {"crma": {"adapter": "medical"}}


@pytest.mark.parametrize("body", [b"", b"[]", b"[{}]", b'"text"', b"{", b"}", b"12", b"[DONE]"])
def test_what_is_no_object_is_left_alone(body: bytes) -> None:
    assert splice_member(body, "crma", VALUE) is None


STREAM = (
    b": keep-alive\n\n"
    b'event: message\ndata: {"id":1,"text":"na\xc3\xafve {x}"}\n\n'
    b'data: {"id":2}\n\n'
    b"data: [DONE]\n\n"
)
MARKED = STREAM.replace(b'{x}"}', b'{x}","crma":{"adapter":"medical"}}')


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.booleans())
def test_only_the_first_event_changes_wherever_chunks_end(cuts: list[int], carriage: bool) -> None:
    stream, marked = (
        (STREAM.replace(b"\n", b"\r\n"), MARKED.replace(b"\n", b"\r\n")) if carriage else (STREAM, MARKED)
    )
    splicer = FirstEventSplicer("crma", VALUE)
    ends = [0, *sorted(cuts), len(stream)]
    sent = [splicer.feed(stream[start:end]) for start, end in pairwise(ends)]
    assert b"".join(sent) + splicer.flush() == marked


def test_events_after_the_first_are_the_very_same_chunks() -> None:
    splicer = FirstEventSplicer("crma", VALUE)
    splicer.feed(b'data: {"id":1}\n\n')
    for chunk in (b'data: {"id"', b":2}\n", b"\ndata: [DONE]\n\n"):
        assert splicer.feed(chunk) is chunk


def test_a_finished_first_event_is_not_held_back() -> None:
    splicer = FirstEventSplicer("crma", VALUE)
    assert splicer.feed(b'data: {"id":1}\n\ndata: {"i') == b'data: {"id":1,"crma":%s}\n\ndata: {"i' % VALUE


def test_a_stream_without_objects_passes_unchanged() -> None:
    splicer = FirstEventSplicer("crma", VALUE)
    assert (
        splicer.feed(b": ping\n\ndata: [DONE]\n\ndata: cut") + splicer.flush()
        == b": ping\n\ndata: [DONE]\n\ndata: cut"
    )


def test_an_endless_line_is_let_through_unmarked() -> None:
    splicer = FirstEventSplicer("crma", VALUE)
    line = b'data: {"text":"' + b"a" * MAX_LINE_BYTES
    assert splicer.feed(line) == line
    assert splicer.feed(b'"}\n\n') == b'"}\n\n'


def test_pages_may_read_what_answered_where_they_may_ask() -> None:
    app = FastAPI()
    app.add_middleware(CORSMiddleware, allow_origins=["https://chat.example"])
    show_marks_to_pages(app)

    @app.post("/v1/chat/completions")
    def answer() -> Response:
        return Response(headers={"x-crma-adapter": "medical"})

    reply = TestClient(app).post("/v1/chat/completions", headers={"origin": "https://chat.example"})
    shown = reply.headers["access-control-expose-headers"].split(", ")
    assert {"x-crma-adapter", "x-crma-path", "x-request-id", "retry-after"} <= set(shown)
    stranger = TestClient(app).post("/v1/chat/completions", headers={"origin": "https://other.example"})
    assert "access-control-allow-origin" not in stranger.headers
