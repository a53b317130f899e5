"""Spans as a collector would get them: the real SDK with an exporter in memory."""

from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from crma_server.http.request import RequestContext
from crma_server.observability.middleware import Tracing, trace_id_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
Make = Callable[..., RequestContext]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider)


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_routing_is_a_span_under_the_clients_trace(
    tracing: Tracing, exporter: InMemorySpanExporter, routed: Make
) -> None:
    headers = [(b"x-other", b"1"), SENT, (b"tracestate", b"vendor=1")]
    trace = tracing.start("POST", "/v1/chat/completions", headers)
    handed_on = trace.carried_by(headers)
    trace.on_choice(routed())
    trace.end(200, "complete")
    request, route = spans(exporter)["crma.request"], spans(exporter)["crma.route"]
    assert request.parent and f"{request.parent.span_id:016x}" == PARENT
    assert f"{request.context.trace_id:032x}" == f"{route.context.trace_id:032x}" == TRACE
    assert route.parent and route.parent.span_id == request.context.span_id
    assert request.kind is SpanKind.SERVER
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "http.response.status_code": 200,
        "crma.ended": "complete",
    }
    # What the engine gets: its spans become children of the request's.
    assert handed_on[0] == (b"x-other", b"1")
    sent_on = dict(handed_on[1:])
    assert sent_on[b"traceparent"] == f"00-{TRACE}-{request.context.span_id:016x}-01".encode()
    assert sent_on[b"tracestate"] == b"vendor=1"
    assert len(handed_on) == 3


def test_a_route_span_says_what_was_chosen_and_when(
    tracing: Tracing, exporter: InMemorySpanExporter, routed: Make
) -> None:
    given = routed()
    tracing.start("POST", "/", []).on_choice(given)
    route = spans(exporter)["crma.route"]
    assert (route.start_time, route.end_time) == given.routing_ns
    attributes = dict(route.attributes or {})
    assert attributes["crma.adapter"] == "medical"
    assert attributes["crma.version"] == "de91ac039f2f"
    assert attributes["crma.path"] == "routed"
    assert attributes["crma.release"] == 7
    assert attributes["crma.confidence"] == pytest.approx(0.98765432)
    assert attributes["crma.score.legal"] == pytest.approx(0.01)
    assert "knee" not in str(attributes)


def test_an_explicit_choice_is_traced_without_scores(
    tracing: Tracing, exporter: InMemorySpanExporter, routed: Make
) -> None:
    tracing.start("POST", "/", []).on_choice(routed(path="explicit", decision=None))
    attributes = spans(exporter)["crma.route"].attributes or {}
    assert attributes["crma.path"] == "explicit"
    assert "crma.confidence" not in attributes


def test_without_a_clients_trace_one_begins_that_the_engine_joins(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    trace = tracing.start("POST", "/", [])
    ((name, value),) = trace.carried_by([])
    trace.end(200, "complete")
    request = spans(exporter)["crma.request"]
    assert request.parent is None
    assert name == b"traceparent"
    assert value.decode().split("-")[1] == f"{request.context.trace_id:032x}"
    assert trace_id_of([(name, value)]) == f"{request.context.trace_id:032x}"


@pytest.mark.parametrize(("status", "ended"), [(500, "complete"), (200, "failed"), (None, "failed")])
def test_failures_are_marked(
    tracing: Tracing, exporter: InMemorySpanExporter, status: int | None, ended: str
) -> None:
    tracing.start("POST", "/", []).end(status, ended)
    assert spans(exporter)["crma.request"].status.status_code is StatusCode.ERROR


def test_a_broken_trace_header_begins_a_new_trace(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    broken = [(b"traceparent", b"00-zz-\xff-01")]
    assert trace_id_of(broken) is None
    tracing.start("GET", "/", broken).end(200, "complete")
    assert spans(exporter)["crma.request"].parent is None


def test_the_trace_of_a_request_is_read_from_its_header() -> None:
    assert trace_id_of([SENT]) == TRACE
    assert trace_id_of([]) is None
