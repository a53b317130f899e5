"""OpenTelemetry spans of a request and of its routing, in the trace the client began and the engine's spans
join; where they are sent is the tracer provider's business, which vLLM sets up for
`--otlp-traces-endpoint`."""

from collections.abc import Iterable
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

from crma_server.http.request import RequestContext

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
