"""What a conversation is known by between its requests: a header, a member of the body, the answer gone on
from."""

from collections.abc import Iterable, Mapping
from typing import Any

from crma_router.conversation.sessions import SessionKey

SESSION_HEADERS = (b"x-session-id", b"x-conversation-id")
_SESSION_MEMBERS = ("session_id", "conversation_id", "conversation")
STICKY_HEADER = b"x-crma-sticky"
"""With the value `user` a client asks for one conversation a person, where it sends no history."""
_USER_MEMBERS = ("safety_identifier", "user")


def session_key(
    headers: Iterable[tuple[bytes, bytes]], body: Mapping[str, Any], opening: bytes
) -> SessionKey:
    """By a header, else by a member of the body or the answer that is gone on from, else by how it opened.

    By the person only if the client asks for it: a person's independent questions are no conversation.
    """
    given = {name.lower(): value for name, value in headers}
    for header in SESSION_HEADERS:
        if value := given.get(header, b"").strip():
            return SessionKey.of("session", value)
    for member in _SESSION_MEMBERS:
        if name := _name(body.get(member)):
            return SessionKey.of("session", name)
    if answer := _name(body.get("previous_response_id")):
        return SessionKey.of("response", answer)
    if given.get(STICKY_HEADER, b"").strip().lower() == b"user" and (person := _person(body)):
        return SessionKey.of("user", person)
    return SessionKey.of("opening", opening)


def _person(body: Mapping[str, Any]) -> bytes:
    metadata = body.get("metadata")
    person = metadata.get("user_id") if isinstance(metadata, dict) else None  # Anthropic's place for it
    named = (*(body.get(member) for member in _USER_MEMBERS), person)
    return next((name for name in map(_name, named) if name), b"")


def _name(value: object) -> bytes:
    """The Responses API gives a conversation as its id or as `{"id": ...}`. Anything else names nothing."""
    if isinstance(value, dict):
        value = value.get("id")
    return value.strip().encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
