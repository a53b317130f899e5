"""The outermost ASGI layer: every request gets an id, is watched to its end, and is logged and traced.

Owns: request ids and what a request's course says (first byte, bytes, whether it was finished). Knows nothing
of the application inside, which adds its choice through `observation`.
"""

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crma_server.http.guard import HOLDER, Holder
from crma_server.observability.logging import Answered, Ended, RequestLog
from crma_server.observability.observation import Observation, Routed
from crma_server.observability.tracing import RequestTrace, Tracing, trace_id_of

REQUEST_ID = b"x-request-id"
# Ids end up in logs, headers and the engine's own names of requests.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:@+/=-]{1,128}")


class RequestWatch:
    """Watches every HTTP request of the application inside."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        log: RequestLog | None = None,
        tracing: Tracing | None = None,
        listeners: tuple[Callable[[Routed], None], ...] = (),
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
        trace = (
            self._tracing.start(scope["method"], scope["path"], scope["headers"]) if self._tracing else None
        )
        listeners = self._listeners
        if trace is not None:
            scope = {**scope, "headers": trace.carried_by(scope["headers"])}
            listeners = (*listeners, trace.on_routed)
        observation = Observation(request_id.decode("ascii"), listeners)
        course = _Course(receive, send, request_id)
        scope = observation.carried_by(scope)
        try:
            await self._app(scope, course.receive, course.send)
        except BaseException as error:
            course.error = error
            raise
        finally:
            self._finish(scope, observation, course, trace)
        return None

    def _finish(
        self, scope: Scope, observation: Observation, course: "_Course", trace: RequestTrace | None
    ) -> None:
        if trace is not None:
            trace.end(course.status, course.ended)
        if self._log is None:
            return
        holder: Holder | None = scope.get(HOLDER)
        answered = Answered(
            request_id=observation.request_id,
            method=scope["method"],
            path=scope["path"],
            client=scope["client"][0] if scope.get("client") else None,
            key=holder.key if holder and holder.key else None,
            trace_id=trace_id_of(scope["headers"]),
            started=course.started,
            seconds=time.perf_counter() - course.start_s,
            first_byte_seconds=course.first_byte_s,
            status=course.status,
            sent_bytes=course.sent_bytes,
            ended=course.ended,
            routed=observation.routed,
        )
        self._log.write(answered)


@dataclass
class _Course:
    """What passes between server and application while one request is answered."""

    inner_receive: Receive
    inner_send: Send
    request_id: bytes
    started: float = field(default_factory=time.time)
    start_s: float = field(default_factory=time.perf_counter)
    status: int | None = None
    first_byte_s: float | None = None
    sent_bytes: int = 0
    sent_all: bool = False
    client_left: bool = False
    error: BaseException | None = None

    async def receive(self) -> Message:
        message = await self.inner_receive()
        if message["type"] == "http.disconnect" and not self.sent_all:
            self.client_left = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            if all(name.lower() != REQUEST_ID for name, _ in headers):
                headers.append((REQUEST_ID, self.request_id))
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body and self.first_byte_s is None:
                self.first_byte_s = time.perf_counter() - self.start_s
            self.sent_bytes += len(body)
            self.sent_all = not message.get("more_body", False)
        await self.inner_send(message)

    @property
    def ended(self) -> Ended:
        if self.sent_all and self.error is None:
            return "complete"
        return "client left" if self.client_left else "failed"


def _request_id(scope: Scope) -> bytes:
    """The client's own, where it is one that can be repeated; else a new one."""
    given = next((value for name, value in scope["headers"] if name.lower() == REQUEST_ID), b"")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode("ascii")


def _with_header(scope: Scope, name: bytes, value: bytes) -> Scope:
    kept = [(given, old) for given, old in scope["headers"] if given.lower() != name]
    return {**scope, "headers": [*kept, (name, value)]}
