"""Replies on their way out: errors in the form that a route's clients expect, the marks that say what
answered (`x-crma-*` headers and the `crma` object), and a record of what was sent."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Message, Scope, Send

from crma_server.http.access import route_path
from crma_server.routing.selector import Choice

Header = tuple[bytes, bytes]
Ended = Literal["complete", "client left", "failed"]

# OpenAI's form of errors as vLLM writes it; on `/v1/messages` Anthropic's:
# https://docs.anthropic.com/en/api/errors.
_ANTHROPIC_PATHS = "/v1/messages"
_ANTHROPIC_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
# Errors are short. A longer body is no document of this form, and is passed on as it comes.
_LONGEST_ERROR_BYTES = 2**20


@dataclass
class ResponseRecorder:
    """What has been sent of one reply. Times are seconds since `start_s`.

    `status` is None until a reply has begun.
    """

    start_s: float = field(default_factory=time.perf_counter)
    status: int | None = None
    is_stream: bool = False
    first_byte_s: float | None = None
    sent_bytes: int = 0
    sent_all: bool = False
    client_left: bool = False
    failed: bool = False

    def saw(self, message: Message) -> None:
        """`message` is sent."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kind = dict(message.get("headers", ())).get(b"content-type", b"")
            self.is_stream = kind.startswith(b"text/event-stream")
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body and self.first_byte_s is None:
                self.first_byte_s = time.perf_counter() - self.start_s
            self.sent_bytes += len(body)
            self.sent_all = not message.get("more_body", False)

    def heard(self, message: Message) -> None:
        """`message` came from the client."""
        if message["type"] == "http.disconnect" and not self.sent_all:
            self.client_left = True

    @property
    def ended(self) -> Ended:
        """How it ended: `failed` when it broke off on our side."""
        if self.sent_all and not self.failed:
            return "complete"
        return "client left" if self.client_left else "failed"


def error_document(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """OpenAI's `{"error": {...}}`."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    """Anthropic's `{"type": "error", "error": {...}}`."""
    kind = _ANTHROPIC_KINDS.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def is_anthropic(scope: Scope) -> bool:
    """Whether a request comes by Anthropic's API."""
    path = route_path(scope)
    return path == _ANTHROPIC_PATHS or path.startswith(_ANTHROPIC_PATHS + "/")


def error_for(scope: Scope, status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The error document in the form that clients of the request's API read."""
    return (
        anthropic_error(status, message)
        if is_anthropic(scope)
        else error_document(status, kind, message, param)
    )


async def send_error(
    scope: Scope,
    send: Send,
    status: int,
    kind: str,
    message: str,
    param: str | None = None,
    headers: Iterable[Header] = (),
) -> None:
    """Answer the request of `scope` with an HTTP `status`, its error document and further `headers`."""
    body = json.dumps(error_for(scope, status, kind, message, param)).encode("ascii")
    given = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class AnthropicErrors:
    """An ASGI `send` that puts errors of OpenAI's form into Anthropic's, and hands all else on untouched."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False) or len(self._body) > _LONGEST_ERROR_BYTES:
                await self._flush(message)
        else:
            await self._send(message)

    async def _flush(self, last: Message) -> None:
        start, self._start = self._start, None
        assert start is not None
        body = _translated(start["status"], self._body)
        kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        length = [] if last.get("more_body", False) else [(b"content-length", b"%d" % len(body))]
        await self._send({**start, "headers": [*kept, *length]})
        await self._send({**last, "body": body})


def _translated(status: int, body: bytes) -> bytes:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or "code" not in error or not isinstance(error.get("message"), str):
        return body
    return json.dumps(anthropic_error(status, error["message"])).encode("ascii")


DEBUG_HEADER = b"x-crma-debug"
MEMBER = "crma"
_FACTS = ("adapter", "version", "backbone", "path", "domain", "confidence", "release")
EXPOSED = (*(f"x-crma-{fact}" for fact in _FACTS), "x-request-id", "retry-after")


def show_marks_to_pages(app: Starlette) -> None:
    """Let pages of other origins read the marks, where `app` lets them ask at all."""
    for layer in app.user_middleware:
        known: object = layer.cls
        if known is CORSMiddleware:
            layer.kwargs["expose_headers"] = EXPOSED


def mark_headers(choice: Choice) -> list[tuple[bytes, bytes]]:
    """The `x-crma-*` headers; those without a value (no backbone in effect, no decision) are left out."""
    return [
        (f"x-crma-{name}".encode("ascii"), str(value).encode("ascii"))
        for name, value in _facts(choice).items()
        if value is not None
    ]


def mark_object(choice: Choice, *, debug: bool, note: str = "") -> bytes:
    """The `crma` object as JSON; if `debug`, with all scores, distances and how the conversation is known.
    `note`: what the client should know besides."""
    document = _facts(choice) | {"reason": choice.reason} | ({"canary": True} if choice.canary else {})
    document |= {"note": note} if note else {}
    if debug and choice.decision is not None:
        document |= {
            "scores": {name: round(score, 6) for name, score in choice.decision.scores.items()},
            "ood_distance": choice.decision.ood_distance,
            "ood_threshold": choice.decision.ood_threshold,
            "cause": choice.decision.cause,
        }
    if debug and choice.session is not None:
        document |= {"session": {"key": choice.session, "known": choice.known}}
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _facts(choice: Choice) -> dict[str, Any]:
    target, decision = choice.target, choice.decision
    # An explicit name is its own domain; the base model and the backbone have none.
    domain = decision.domain if decision else (target.adapter if choice.path == "explicit" else None)
    return {
        "adapter": target.adapter,
        "version": target.version,
        "backbone": target.backbone,
        "path": choice.path,
        "domain": domain if domain not in ("base", "backbone") else None,
        "confidence": round(decision.confidence, 4) if decision else None,
        "release": choice.release,
    }


class MarkedResponse:
    """An ASGI `send` that marks one reply and hands it on."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], member: bytes) -> None:
        self._send = send
        self._headers = headers
        self._member = member
        self._start: Message | None = None  # held back until the length of a JSON body is known
        self._json: list[bytes] = []
        self._events: FirstEventSplicer | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._on_start({**message, "headers": [*message.get("headers", []), *self._headers]})
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._on_json(message)
        elif message["type"] == "http.response.body" and self._events is not None:
            await self._on_events(message, self._events)
        else:
            await self._send(message)

    async def _on_start(self, message: Message) -> None:
        headers = dict(message["headers"])
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        marks_body = message["status"] == 200 and b"content-encoding" not in headers
        if marks_body and content_type == b"application/json":
            self._start = message
            return
        if marks_body and content_type == b"text/event-stream":
            self._events = FirstEventSplicer(MEMBER, self._member)
        await self._send(message)

    async def _on_json(self, message: Message) -> None:
        self._json.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = b"".join(self._json)
        body = splice_member(body, MEMBER, self._member) or body
        assert self._start is not None
        kept = [(name, value) for name, value in self._start["headers"] if name != b"content-length"]
        await self._send({**self._start, "headers": [*kept, (b"content-length", b"%d" % len(body))]})
        self._start = None
        await self._send({**message, "body": body})

    async def _on_events(self, message: Message, events: "FirstEventSplicer") -> None:
        more = message.get("more_body", False)
        body = events.feed(message.get("body", b""))
        if not more:
            body += events.flush()
        if body or not more:
            await self._send({**message, "body": body})


# A first event longer than this is let through unmarked: memory stays bounded whatever the stream holds.
MAX_LINE_BYTES = 2**20


def splice_member(document: bytes, name: str, value: bytes) -> bytes | None:
    """`document`, a JSON object, with one more member at its end; None if it is no object."""
    body = document.strip()
    if not (body.startswith(b"{") and body.endswith(b"}") and len(body) >= 2):
        return None
    comma = b"," if body[1:-1].strip() else b""
    return b"%s%s%s:%s}" % (body[:-1], comma, json.dumps(name).encode("ascii"), value)


class FirstEventSplicer:
    """Adds the member to the first JSON object of a server-sent event stream; all else passes untouched.

    Chunks may end anywhere: only an unfinished line is held back, and only until the first object has passed.
    """

    def __init__(self, name: str, value: bytes) -> None:
        self._name = name
        self._value = value
        self._held = b""
        self._done = False

    def feed(self, chunk: bytes) -> bytes:
        """What can be sent on now that `chunk` has come."""
        if self._done:
            return chunk
        lines = (self._held + chunk).splitlines(keepends=True)
        # The last line is unfinished if no newline ends it; "\r" may be half of "\r\n".
        self._held = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
        sent = b"".join(line if self._done else self._pass(line) for line in lines)
        if self._done or len(self._held) > MAX_LINE_BYTES:
            self._done = True
            return sent + self.flush()
        return sent

    def flush(self) -> bytes:
        """What is still held back when the stream ends."""
        held, self._held = self._held, b""
        return held

    def _pass(self, line: bytes) -> bytes:
        content = line.rstrip(b"\r\n")
        if not content.startswith(b"data:"):
            return line
        spliced = splice_member(content[len(b"data:") :], self._name, self._value)
        if spliced is None:
            return line
        self._done = True
        return b"data: " + spliced + line[len(content) :]
