"""Replies the server gives without asking the engine, and errors in the form that a route's clients expect.

OpenAI's form as vLLM writes it; on `/v1/messages` Anthropic's: https://docs.anthropic.com/en/api/errors.
"""

import json
from collections.abc import Iterable
from typing import Any

from starlette.types import Message, Scope, Send

from crma_server.http.access import route_path

Header = tuple[bytes, bytes]

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
