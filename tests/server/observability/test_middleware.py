"""The watch around the real routing middleware and a stand-in for vLLM's application."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from crma_server.http.auth import AuthMiddleware
from crma_server.http.body import BodyMiddleware
from crma_server.http.keys import ApiKeyStore, KeySource
from crma_server.http.routing import RoutingMiddleware
from crma_server.observability.decisions import Decisions
from crma_server.observability.logging import RequestLog
from crma_server.observability.metrics import Metrics
from crma_server.observability.middleware import ObservabilityMiddleware, Tracing
from crma_server.routing.catalog import Catalog, adapter_entry, backbone_entry
from crma_server.routing.selector import Live, Selector

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]
CHAT = {"model": "medical", "messages": [{"role": "user", "content": "my left knee"}]}


async def two_events(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for event in (b'data: {"a":1}\n\n', b"data: [DONE]\n\n"):
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError("engine died")


async def stops_when_the_client_leaves(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass
class Watched:
    """A watched application: ask it, and see what was sent, logged, decided and traced."""

    folder: Path
    answer: Answer = two_events
    decisions: Decisions = field(default_factory=Decisions)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    trace: bool = False
    keys: ApiKeyStore = field(default_factory=lambda: ApiKeyStore(KeySource()))
    inner: Scope = field(default_factory=dict)
    sent: list[Message] = field(default_factory=list)

    def ask(self, body: Any = CHAT, *, path: str = "/v1/chat/completions", **headers: str) -> None:
        catalog = Catalog({"medical": adapter_entry("medical", "a" * 12, "b" * 12)}, backbone_entry("b" * 12))
        selector = Selector(Live(catalog, None, 3), Metrics(CollectorRegistry()))
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        log = RequestLog(str(self.folder / "log"))
        routing = BodyMiddleware(RoutingMiddleware(self._application, selector), 2**20)
        watch = ObservabilityMiddleware(
            AuthMiddleware(routing, self.keys, ApiKeyStore(KeySource()), print),
            log=log,
            tracing=Tracing(provider) if self.trace else None,
            listeners=(self.decisions.add,),
        )
        try:
            asyncio.run(asyncio.wait_for(self._exchange(watch, body, path, headers), 5))
        finally:
            log.close()

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inner = scope
        await self.answer(scope, receive, send)

    async def _exchange(
        self, watch: ObservabilityMiddleware, body: Any, path: str, headers: dict[str, str]
    ) -> None:
        incoming: list[Message] = [{"type": "http.request", "body": json.dumps(body).encode()}]

        async def receive() -> Message:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": path, "client": ("127.0.0.1", 5000),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        await watch(scope, receive, send)

    @property
    def logged(self) -> Any:
        (line,) = (self.folder / "log").read_text().splitlines()
        return json.loads(line)

    @property
    def reply_headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def inner_headers(self) -> dict[bytes, bytes]:
        return dict(self.inner["headers"])


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_stream_is_logged_with_what_answered_it(watched: Watched) -> None:
    watched.ask()
    logged = watched.logged
    assert logged["status"] == 200
    assert logged["ended"] == "complete"
    assert (logged["asked"], logged["adapter"], logged["version"]) == ("medical", "medical", "a" * 12)
    assert (logged["route"], logged["release"]) == ("explicit", 3)
    assert logged["sent_bytes"] == sum(len(each.get("body", b"")) for each in watched.sent)
    assert 0 <= logged["first_byte_seconds"] <= logged["seconds"] < 5
    assert "knee" not in json.dumps(logged)
    assert len(watched.sent) == 4  # passed on as they came


def test_a_request_gets_an_id_that_engine_log_reply_and_decision_share(watched: Watched) -> None:
    watched.ask()
    request_id = watched.logged["request_id"]
    assert len(request_id) == 32
    assert watched.inner_headers[b"x-request-id"] == watched.reply_headers[b"x-request-id"]
    assert watched.reply_headers[b"x-request-id"].decode() == request_id
    assert [each.request_id for each in watched.decisions.after(0)] == [request_id]


def test_a_clients_own_id_is_kept(watched: Watched) -> None:
    watched.ask(x_request_id="client-7")
    assert watched.logged["request_id"] == "client-7"
    assert watched.inner_headers[b"x-request-id"] == b"client-7"


@pytest.mark.parametrize("given", ["x" * 129, "a b", "<script>", "a;b"])
def test_an_id_that_cannot_be_repeated_is_replaced(watched: Watched, given: str) -> None:
    watched.ask(x_request_id=given)
    assert watched.logged["request_id"] != given
    names = [name for name, _ in watched.inner["headers"]]
    assert names.count(b"x-request-id") == 1


def test_an_application_that_breaks_off_is_logged_and_its_error_goes_on(watched: Watched) -> None:
    watched.answer = breaks_off
    with pytest.raises(RuntimeError, match="engine died"):
        watched.ask()
    assert (watched.logged["ended"], watched.logged["status"]) == ("failed", 200)


def test_a_client_that_leaves_is_logged_as_such(watched: Watched) -> None:
    watched.answer = stops_when_the_client_leaves
    watched.ask()
    assert watched.logged["ended"] == "client left"


def test_a_refused_request_is_logged_without_a_route(watched: Watched) -> None:
    watched.ask({"model": "nonesuch", "messages": []})
    assert watched.logged["status"] == 404
    assert "adapter" not in watched.logged
    assert watched.decisions.after(0) == []


def test_the_log_tells_keys_apart_and_holds_none(watched: Watched) -> None:
    watched.keys = ApiKeyStore(KeySource(("sesame",)))
    watched.ask(authorization="Bearer sesame")
    assert watched.logged["key"] == hashlib.sha256(b"sesame").hexdigest()[:8]
    assert "sesame" not in json.dumps(watched.logged)


def test_a_request_without_its_key_is_logged_too(watched: Watched) -> None:
    watched.keys = ApiKeyStore(KeySource(("sesame",)))
    watched.ask(authorization="Bearer wrong")
    assert watched.logged["status"] == 401
    assert "key" not in watched.logged and watched.inner == {}


def test_token_counts_are_no_decisions(watched: Watched) -> None:
    watched.ask({"prompt": "one two"}, path="/tokenize")
    assert watched.logged["path"] == "/tokenize"
    assert watched.decisions.after(0) == []


def test_the_engine_joins_the_trace_and_the_log_names_it(watched: Watched) -> None:
    watched.trace = True
    watched.ask(traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    request, route = (
        next(span for span in watched.exporter.get_finished_spans() if span.name == name)
        for name in ("crma.request", "crma.route")
    )
    assert watched.logged["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert f"{request.context.span_id:016x}" in watched.inner_headers[b"traceparent"].decode()
    assert route.attributes and route.attributes["crma.adapter"] == "medical"
    assert request.attributes and request.attributes["http.response.status_code"] == 200


def test_without_tracing_the_clients_trace_is_handed_on_untouched(watched: Watched) -> None:
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    watched.ask(traceparent=given)
    assert watched.inner_headers[b"traceparent"].decode() == given
    assert watched.logged["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_other_protocols_pass_untouched() -> None:
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        seen.append(scope)

    async def nothing(*_: Any) -> Any:
        return None

    scope = {"type": "lifespan"}
    asyncio.run(ObservabilityMiddleware(application)(scope, nothing, nothing))
    assert seen == [scope]
