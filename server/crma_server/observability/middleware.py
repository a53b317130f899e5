"""The outermost ASGI layer: every request gets an id and its context, and is logged and traced to its end."""

import re
import time
import uuid
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crma_server.http.request import RequestContext
from crma_server.observability.logging import RequestLog
from crma_server.observability.tracing import Tracing, trace_id_of

REQUEST_ID = b"x-request-id"
# Ids end up in logs, headers and the engine's own names of requests.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:@+/=-]{1,128}")


class ObservabilityMiddleware:
    """Watches every HTTP request of the application inside."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        log: RequestLog | None = None,
        tracing: Tracing | None = None,
        listeners: tuple[Callable[[RequestContext], None], ...] = (),
    ) -> None:
        """`listeners` are told of every choice as it is made."""
        self._app = app
        self._log = log
        self._tracing = tracing
        self._listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = _request_id(scope)
        scope = _with_header(scope, REQUEST_ID, request_id)
        context = RequestContext.of(scope)
        context.request_id, context.listeners = request_id.decode("ascii"), self._listeners
        trace = (
            self._tracing.start(scope["method"], scope["path"], scope["headers"]) if self._tracing else None
        )
        if trace is not None:
            scope = {**scope, "headers": trace.carried_by(scope["headers"])}
            context.listeners = (*self._listeners, trace.on_choice)
        context.trace_id = trace_id_of(scope["headers"])

        async def hear() -> Message:
            message = await receive()
            context.response.heard(message)
            return message

        async def say(message: Message) -> None:
            message = _with_id(message, request_id)
            context.response.saw(message)
            await send(message)

        try:
            await self._app(scope, hear, say)
        except BaseException:
            context.response.failed = True
            raise
        finally:
            if trace is not None:
                trace.end(context.response.status, context.response.ended)
            if self._log is not None:
                self._log.write(context, time.perf_counter() - context.response.start_s)
        return None


def _request_id(scope: Scope) -> bytes:
    """The client's own, where it is one that can be repeated; else a new one."""
    given = next((value for name, value in scope["headers"] if name.lower() == REQUEST_ID), b"")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode("ascii")


def _with_header(scope: Scope, name: bytes, value: bytes) -> Scope:
    kept = [(given, old) for given, old in scope["headers"] if given.lower() != name]
    return {**scope, "headers": [*kept, (name, value)]}


def _with_id(message: Message, request_id: bytes) -> Message:
    """The start of a reply with its request's id, unless it has one."""
    if message["type"] != "http.response.start":
        return message
    headers = list(message.get("headers", ()))
    if all(name.lower() != REQUEST_ID for name, _ in headers):
        headers.append((REQUEST_ID, request_id))
    return {**message, "headers": headers}
