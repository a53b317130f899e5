"""The outermost ASGI layer: every request gets an id and its context, and is logged and traced
(OpenTelemetry, in the trace the client began) to its end."""

import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    get_tracer_provider,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crma_server.http.request import RequestContext
from crma_server.observability.logging import RequestLog

Headers = Iterable[tuple[bytes, bytes]]

REQUEST_SPAN = "crma.request"
ROUTE_SPAN = "crma.route"
_HEADERS = ("traceparent", "tracestate")
_PROPAGATOR = TraceContextTextMapPropagator()


class RequestTrace:
    """The spans of one request."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)

    def carried_by(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """`headers` with this request's span as the parent of what is to come."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, self._context)
        kept = [(name, value) for name, value in headers if name.lower().decode("latin-1") not in carrier]
        return kept + [(name.encode("ascii"), value.encode("latin-1")) for name, value in carrier.items()]

    def on_choice(self, context: RequestContext) -> None:
        """A span for the request's choice, between the times it was made in."""
        started_ns, ended_ns = context.routing_ns
        span = self._tracer.start_span(ROUTE_SPAN, self._context, start_time=started_ns)
        span.set_attributes(_attributes(context))
        span.end(ended_ns)

    def end(self, status: int | None, ended: str) -> None:
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        self._span.set_attribute("crma.ended", ended)
        if ended == "failed" or (status or 0) >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Tracing:
    """Starts a trace for each request, or goes on with the client's."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        """`provider` is the process's own unless given."""
        self._tracer = (provider or get_tracer_provider()).get_tracer("crma")

    def start(self, method: str, path: str, headers: Headers) -> RequestTrace:
        attributes = {"http.request.method": method, "url.path": path[:256]}
        span = self._tracer.start_span(REQUEST_SPAN, _parent(headers), SpanKind.SERVER, attributes)
        return RequestTrace(self._tracer, span)


def trace_id_of(headers: Headers) -> str | None:
    """The trace a request belongs to, 32 hex digits, if it belongs to one."""
    context = get_current_span(_parent(headers)).get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def _parent(headers: Headers) -> Context:
    carrier: dict[str, str] = {}
    for name, value in headers:
        key = name.lower().decode("latin-1")
        if key in _HEADERS and key not in carrier:
            carrier[key] = value.decode("latin-1")
    return _PROPAGATOR.extract(carrier, Context())


def _attributes(context: RequestContext) -> dict[str, Any]:
    choice = context.choice
    assert choice is not None
    attributes: dict[str, Any] = {
        "crma.request_id": context.request_id,
        "crma.asked": context.asked,
        "crma.adapter": choice.target.adapter,
        "crma.version": choice.target.version,
        "crma.backbone": choice.target.backbone,
        "crma.release": choice.release,
        "crma.path": choice.path,
    }
    if (decision := choice.decision) is not None:
        attributes |= {
            "crma.domain": decision.domain,
            "crma.confidence": decision.confidence,
            "crma.cause": decision.cause,
            "crma.ood_distance": decision.ood_distance,
            "crma.ood_threshold": decision.ood_threshold,
        }
        attributes |= {f"crma.score.{name}": score for name, score in decision.scores.items()}
    return {name: value for name, value in attributes.items() if value is not None}


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
