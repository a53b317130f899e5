"""By what a conversation is known."""

from typing import Any

import pytest

from crma_server.http.session_key import session_key

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
