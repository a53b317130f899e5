"""The ASGI layer that reads request bodies, and only so much of them.

Owns: the largest body, the longest silence while one is sent, and handing it on whole. Of what it holds only
that it is text matters here. What stands behind it never waits for a slow sender.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crma_server.http.body_text import DEEPEST, has_broken_text, is_too_deep
from crma_server.http.replies import send_error

# A sender that is silent this long is gone, or holds a place on purpose.
SILENCE_S = 30.0
_LENGTH_DIGITS = 20  # Python reads no number of thousands of digits
_CLOSE = [(b"connection", b"close")]  # the rest of the body is not read


class BodyLimit:
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
        body = b"".join(chunks)
        if is_too_deep(body):
            text = f"the body is nested too deeply, more than {DEEPEST} levels: flatten it"
            return await send_error(scope, send, 400, "BadRequestError", text)
        if has_broken_text(body):
            text = "the body holds half a surrogate pair, which is no text: send whole characters"
            return await send_error(scope, send, 400, "BadRequestError", text)
        return await self._app(scope, replay(body, receive), send)

    async def _too_large(self, scope: Scope, send: Send) -> None:
        message = f"the body is larger than {self._max_bytes} bytes: send less"
        await send_error(scope, send, 413, "RequestTooLarge", message, headers=_CLOSE)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once and then whatever comes, so that a disconnect is still heard."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
