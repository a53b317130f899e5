"""The ASGI layer that reads request bodies, once, and only so much of them; what stands behind it never waits
for a slow sender."""

import asyncio
import json
import re
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crma_server.http.request import RequestContext
from crma_server.http.response import send_error

# A sender that is silent this long is gone, or holds a place on purpose.
SILENCE_S = 30.0
_LENGTH_DIGITS = 20  # Python reads no number of thousands of digits
_CLOSE = [(b"connection", b"close")]  # the rest of the body is not read


class BodyMiddleware:
    """Reads a body of at most `max_bytes` before anything behind it starts; larger ones get 413."""

    def __init__(self, app: ASGIApp, max_bytes: int, silence_s: float = SILENCE_S) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._silence_s = silence_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced[:_LENGTH_DIGITS]) > self._max_bytes:
            return await self._too_large(scope, send)
        chunks: list[bytes] = []
        size_bytes = 0
        more = True
        while more:
            try:
                message = await asyncio.wait_for(receive(), self._silence_s)
            except TimeoutError:
                text = f"no more of the body came for {self._silence_s:g} s: send it at once"
                return await send_error(scope, send, 408, "RequestTimeout", text, headers=_CLOSE)
            if message["type"] == "http.disconnect":
                return None  # nobody is left to answer
            chunks.append(message.get("body", b""))
            size_bytes += len(chunks[-1])
            if size_bytes > self._max_bytes:
                return await self._too_large(scope, send)
            more = message.get("more_body", False)
        context = RequestContext.of(scope)
        context.body = b"".join(chunks)
        if fault := _fault(context):
            return await send_error(scope, send, 400, "BadRequestError", fault)
        return await self._app(scope, replay(context.body, receive), send)

    async def _too_large(self, scope: Scope, send: Send) -> None:
        message = f"the body is larger than {self._max_bytes} bytes: send less"
        await send_error(scope, send, 413, "RequestTooLarge", message, headers=_CLOSE)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once and then whatever comes, so that a disconnect is still heard."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _fault(context: RequestContext) -> str | None:
    """Why nobody behind could read the body as JSON, if it is meant to be that."""
    if is_too_deep(context.body):
        return f"the body is nested too deeply, more than {DEEPEST} levels: flatten it"
    if has_broken_text(context.body, lambda: context.value):
        return "the body holds half a surrogate pair, which is no text: send whole characters"
    return None


# Half a surrogate pair ("\\ud800"): JSON's grammar allows it and no UTF-8 can hold it, so whoever echoes or
# tokenizes it fails.
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# A cheap look first: nearly no body has one. An escaped backslash may look like one and is none.
_SUSPECT = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH.replace(b"{2}", b"[0-9a-fA-F]"), _LOW))

DEEPEST = 200  # levels of objects and arrays; schemas of tools and answers need a few dozen
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[{]|[\]}]")


def is_too_deep(body: bytes) -> bool:
    """Whether `body` nests objects and arrays deeper than `DEEPEST`."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False


def has_broken_text(body: bytes, value: Callable[[], object]) -> bool:
    """Whether `body` holds such text; `value` gives what it reads as, and is called for few."""
    if _SUSPECT.search(body) is None:
        return False
    try:
        json.dumps(value(), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    except (ValueError, TypeError, RecursionError):
        return False
    return False
