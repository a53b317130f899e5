"""What a conversation is known by between its requests.

Owns: which headers and members of a body name a conversation or a person, and their order. Knows nothing of
what is remembered under a key.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from crma_router.conversation.sessions import SessionKey

SESSION_HEADERS = (b"x-session-id", b"x-conversation-id")
_SESSION_MEMBERS = ("session_id", "conversation_id", "conversation")
_USER_MEMBERS = ("safety_identifier", "user")


def session_key(
    headers: Iterable[tuple[bytes, bytes]], body: Mapping[str, Any], opening: bytes
) -> SessionKey:
    """By a header, else by a member of the body, else by the person, else by how the conversation opened."""
    given = {name.lower(): value for name, value in headers}
    for header in SESSION_HEADERS:
        if value := given.get(header, b"").strip():
            return SessionKey.of("session", value)
    for member in _SESSION_MEMBERS:
        if name := _name(body.get(member)):
            return SessionKey.of("session", name)
    metadata = body.get("metadata")
    person = metadata.get("user_id") if isinstance(metadata, dict) else None  # Anthropic's place for it
    for named in (*(body.get(member) for member in _USER_MEMBERS), person):
        if name := _name(named):
            return SessionKey.of("user", name)
    return SessionKey.of("opening", opening)


def _name(value: object) -> bytes:
    """The Responses API gives a conversation as its id or as `{"id": ...}`. Anything else names nothing."""
    if isinstance(value, dict):
        value = value.get("id")
    return value.strip().encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
