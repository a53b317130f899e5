"""What of a request is routed by, and by what its conversation is known."""

from typing import Any

import pytest

from crma_adapters.errors import RouterError
from crma_server.http.request import request_conversation, session_key

LONG = "What are the early symptoms of iron deficiency anemia in adults?"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": LONG}]},
        {"messages": [{"role": "system", "content": "You are a lawyer."}, {"role": "user", "content": LONG}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]},
        {"input": LONG},
        {
            "input": [{"role": "user", "content": [{"type": "input_text", "text": LONG}]}],
            "instructions": "Be brief",
        },
        {"prompt": LONG},
        {"prompt": [LONG]},
    ],
)
def test_what_the_user_wrote_is_found_in_every_api(body: dict[str, Any]) -> None:
    assert request_conversation(body).turns == (LONG,)


def test_several_prompts_are_routed_together() -> None:
    assert request_conversation({"prompt": ["one", "two"]}).turns == ("one\ntwo",)


@pytest.mark.parametrize(
    "body", [{}, {"prompt": None}, {"prompt": [1, 2, 3]}, {"prompt": [[1], [2]]}, {"prompt": 7}]
)
def test_requests_without_text_have_none(body: dict[str, Any]) -> None:
    assert request_conversation(body).turns == ()


@pytest.mark.parametrize(
    "body", [{"messages": "hi"}, {"messages": [1]}, {"messages": None}, {"input": {"a": 1}}]
)
def test_what_is_no_conversation_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(RouterError, match="expected"):
        request_conversation(body)


def test_where_the_system_text_stands_makes_no_difference_to_what_is_routed() -> None:
    chat = {"messages": [{"role": "system", "content": "Be a lawyer."}, {"role": "user", "content": LONG}]}
    messages = {"system": [{"type": "text", "text": "Be a lawyer."}], "messages": chat["messages"][1:]}
    responses = {"instructions": "Be a lawyer.", "input": LONG}
    found = [request_conversation(body) for body in (chat, messages, responses)]
    assert {conversation.turns for conversation in found} == {(LONG,)}
    assert request_conversation({"input": LONG}).opening != found[2].opening
    assert found[1].opening != request_conversation({"messages": chat["messages"][1:]}).opening


@pytest.mark.parametrize("system", [7, None, [1, {"text": 5}], {"a": 1}])
def test_a_system_text_that_is_none_is_left_to_the_engine(system: Any) -> None:
    body = {"system": system, "messages": [{"role": "user", "content": LONG}]}
    assert request_conversation(body).turns == (LONG,)


OPENING = b"o" * 16


def kind(headers: dict[str, str], body: dict[str, Any]) -> str:
    return session_key([(k.encode(), v.encode()) for k, v in headers.items()], body, OPENING).kind


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"x-session-id": "a"}, {"user": "u"}, "session"),
        ({"X-Conversation-Id": "a"}, {}, "session"),
        ({}, {"session_id": "a"}, "session"),
        ({}, {"conversation": {"id": "conv_1"}}, "session"),
        ({}, {"conversation": "conv_1"}, "session"),
        ({"x-crma-sticky": "user"}, {"user": "u"}, "user"),
        ({"x-crma-sticky": "user"}, {"safety_identifier": "u"}, "user"),
        ({"x-crma-sticky": "user"}, {"metadata": {"user_id": "u"}}, "user"),
        ({}, {}, "opening"),
        ({}, {"user": "u"}, "opening"),
        ({}, {"previous_response_id": "resp_1"}, "response"),
        ({"x-session-id": "  "}, {"user": ""}, "opening"),
        ({}, {"user": 7, "metadata": [1], "session_id": [2], "conversation": {"id": {}}}, "opening"),
    ],
)
def test_a_conversation_is_known_by_the_most_exact_name(
    headers: dict[str, str], body: dict[str, Any], expected: str
) -> None:
    assert kind(headers, body) == expected


def test_the_same_name_is_another_key_as_a_person_and_as_a_conversation() -> None:
    one = session_key([(b"x-session-id", b"a")], {}, OPENING)
    other = session_key([], {"user": "a"}, OPENING)
    assert one.digest != other.digest
    assert b"a" not in (one.digest, other.digest)
    assert session_key([(b"x-conversation-id", b"a")], {}, b"") == one


def test_any_name_gives_a_key_of_the_same_size() -> None:
    for name in ("x" * 100_000, "\ud800", "\0", "é"):
        assert len(session_key([], {"user": name}, OPENING).digest) == 16
    assert len(session_key([(b"x-session-id", b"\xff\xfe")], {}, OPENING).digest) == 16
