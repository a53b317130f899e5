"""The ASGI layer that ends what takes too long: with 504 if no answer has begun, else with an error as the
last event of its stream. What stands behind is told as if the client had left, which vLLM hears wherever it
generates, and frees the engine."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crma_server.http.access import Access
from crma_server.http.request import RequestContext
from crma_server.http.response import ResponseRecorder, error_for, send_error

DEADLINE_HEADER = b"x-crma-deadline-ms"
_LONGEST_MS = 10**9
# How long what stands behind may take to hear of it before it is cancelled.
_GRACE_S = 2.0


class DeadlineMiddleware:
    """`app` answers each request within `limit_s` seconds (0: no limit), or less if the request says so."""

    def __init__(self, app: ASGIApp, limit_s: float, refused: Callable[[str], None]) -> None:
        self._app = app
        self._limit_s = limit_s
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = RequestContext.of(scope).principal if scope["type"] == "http" else None
        if principal is None or principal.access is not Access.INFERENCE:
            return await self._app(scope, receive, send)
        given = dict(scope["headers"]).get(DEADLINE_HEADER)
        if given is not None and not (given.isdigit() and 0 < int(given[:12]) <= _LONGEST_MS):
            message = f"{DEADLINE_HEADER.decode()}: expected a whole number of milliseconds from 1"
            return await send_error(scope, send, 400, "BadRequestError", message)
        limits_s = [limit_s for limit_s in (self._limit_s, int(given) / 1000 if given else 0) if limit_s]
        if not limits_s:
            return await self._app(scope, receive, send)
        return await self._within(min(limits_s), scope, receive, send)

    async def _within(self, limit_s: float, scope: Scope, receive: Receive, send: Send) -> None:
        connection = _Connection(scope, receive, send)
        work: Coroutine[Any, Any, None] = self._app(scope, connection.receive, connection.send)  # type: ignore[assignment]
        answering = asyncio.create_task(work)
        try:
            await asyncio.wait({answering}, timeout=limit_s)
            if answering.done() or not connection.may_be_cut:
                return await answering
            self._refused("deadline")
            await connection.cut(f"no whole answer within {limit_s:g} s")
            await asyncio.wait({answering}, timeout=_GRACE_S)
        finally:
            if not answering.done():
                answering.cancel()
                await asyncio.wait({answering}, timeout=_GRACE_S)
            if answering.done() and not answering.cancelled() and connection.is_cut:
                answering.exception()  # asked for, or asyncio would log it: it was told that the client left
        return None


class _Connection:
    """What the application hears and says, until it is cut."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.is_cut = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._cut = asyncio.Event()
        self._response = ResponseRecorder()

    @property
    def may_be_cut(self) -> bool:
        """A stream may end early. A whole reply that has begun is all but there, and its length announced."""
        response = self._response
        return response.status is None or (response.is_stream and not response.sent_all)

    async def receive(self) -> Message:
        heard, cut = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait({heard, cut}, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else {"type": "http.disconnect"}
        finally:
            heard.cancel()
            cut.cancel()

    async def send(self, message: Message) -> None:
        """Once cut, nothing is sent and nothing raised, as a server does when its client has left.

        Raising here would leave the generator of a stream suspended until Python collects it, and the engine
        generating for it until then.
        """
        if self.is_cut:
            return
        self._response.saw(message)
        await self._send(message)

    async def cut(self, message: str) -> None:
        """End the reply and have the application hear that nobody listens any more."""
        self.is_cut = True
        self._cut.set()
        with suppress(TimeoutError):  # a client that does not read; its connection ends with this request
            await asyncio.wait_for(self._end(message), _GRACE_S)

    async def _end(self, message: str) -> None:
        if self._response.status is None:
            return await send_error(self._scope, self._send, 504, "TimeoutError", message)
        event = {"type": "error"} | error_for(self._scope, 504, "TimeoutError", message)
        body = f"event: error\ndata: {json.dumps(event)}\n\n".encode("ascii")
        return await self._send({"type": "http.response.body", "body": body, "more_body": False})
