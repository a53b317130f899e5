"""One request from its arrival to the end of its reply: the record that every layer reads and adds to, and
what of the request a conversation is read from and known by."""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from starlette.types import Scope

from crma_adapters.errors import RouterError
from crma_router.conversation.messages import Conversation, read_conversation
from crma_router.conversation.sessions import SessionKey
from crma_server.http.access import Principal
from crma_server.http.response import ResponseRecorder
from crma_server.routing.selector import Choice

_MEMBER = "crma.request"
_NOT_JSON = object()


@dataclass
class RequestContext:
    """One request. It stands in the ASGI scope, and each layer adds what it finds out.

    request_id, trace_id: set by the outermost layer. principal: by `auth`; None: nobody asked for a key yet.
    body: by `body`, whole; it holds the user's words, and nobody may keep it who was not asked to. asked: the
    model name the client gave; choice: what answers it, made between routing_ns, nanoseconds since the epoch;
    by `routing`, which tells `listeners`. response: what has been sent.
    """

    method: str = ""
    path: str = ""
    client: str | None = None
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    trace_id: str | None = None
    started: float = field(default_factory=time.time)
    listeners: tuple[Callable[["RequestContext"], None], ...] = ()
    principal: Principal | None = None
    body: bytes = field(default=b"", repr=False)
    asked: str = ""
    choice: Choice | None = None
    routing_ns: tuple[int, int] = (0, 0)
    response: ResponseRecorder = field(default_factory=ResponseRecorder)

    @classmethod
    def of(cls, scope: Scope) -> "RequestContext":
        """The context of the request in `scope`, made by whoever asks first."""
        context: RequestContext | None = scope.get(_MEMBER)
        if context is None:
            client = scope["client"][0] if scope.get("client") else None
            context = scope[_MEMBER] = cls(scope.get("method", ""), scope["path"], client)
        return context

    @cached_property
    def value(self) -> object:
        """What the body reads as; a private object if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return _NOT_JSON

    @property
    def document(self) -> dict[str, Any] | None:
        """The body's JSON object; None if it is not one."""
        return self.value if isinstance(self.value, dict) else None

    @property
    def routing_s(self) -> float:
        """Seconds that the choice took."""
        return (self.routing_ns[1] - self.routing_ns[0]) / 1e9

    def choose(self, asked: str, choice: Choice, started_ns: int) -> None:
        """`choice` answers the request, which asked for `asked`; the listeners hear of it."""
        self.asked, self.choice, self.routing_ns = asked, choice, (started_ns, time.time_ns())
        for listener in self.listeners:
            listener(self)


ROUTE_TEXT_HEADER = b"x-crma-route-text"
ROUTE_TEXT_MEMBER = "crma_route_text"


def request_conversation(
    body: Mapping[str, Any], headers: Iterable[tuple[bytes, bytes]] = ()
) -> Conversation:
    """What the user wrote, from `messages`, `input` (a string or items) or `prompt` (a string or several).

    A prompt of token ids has no text. What the header `x-crma-route-text` or the member `crma_route_text`
    says takes the place of the last turn. Raises `RouterError` if messages or items are none, or that
    member is no string.
    """
    conversation = _written(body)
    given = _route_text(body, headers)
    if given is None:
        return conversation
    return replace(conversation, turns=(*conversation.turns[:-1], given), prompts=())


def _route_text(body: Mapping[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name.lower() == ROUTE_TEXT_HEADER and value.strip():
            return value.decode("utf-8", "replace").strip()
    given = body.get(ROUTE_TEXT_MEMBER)
    if given is not None and not isinstance(given, str):
        raise RouterError(f"{ROUTE_TEXT_MEMBER} is {type(given).__name__}; expected a string to route by")
    return given.strip() or None if given else None


def _written(body: Mapping[str, Any]) -> Conversation:
    system = _system_text(body.get("system")) or _system_text(body.get("instructions"))
    if "messages" in body:
        return read_conversation(body["messages"], system)
    if "input" in body:
        given = body["input"]
        return (
            Conversation.of_text(given, system)
            if isinstance(given, str)
            else read_conversation(given, system)
        )
    prompt = body.get("prompt")
    prompts = [text for text in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(text, str)]
    if len(prompts) > 1:
        return replace(Conversation.of_text("\n".join(prompts)), prompts=tuple(prompts))
    return Conversation.of_text("".join(prompts))


def _system_text(value: object) -> str:
    """Anthropic's `system`, a string or text parts, and the `instructions` of the Responses API."""
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return value if isinstance(value, str) else ""


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
