"""Requests nobody should send: a decision or a clear 400, never a 500, and memory stays flat."""

import asyncio
import gc
import json
import tracemalloc
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from starlette.types import Message, Receive, Scope, Send

from crma_router.conversation.sessions import Sessions
from crma_router.drift import PSIMonitor, reference_stats
from crma_router.policy import ClassifierOutput, Policy, RoutingDecision, decide
from crma_server.http.body import BodyMiddleware
from crma_server.http.routing import RoutingMiddleware
from crma_server.observability.metrics import Metrics
from crma_server.routing.catalog import Catalog, adapter_entry, backbone_entry
from crma_server.routing.selector import Live, Selector

CHAT = "/v1/chat/completions"
VERSIONS = ("de91ac039f2f", "a0afad0b46d1")


class CountingRouter:
    """Medical where there is a fever, legal where there is a court; needs text that is valid."""

    policy = Policy()

    def route_known(self, text: str) -> RoutingDecision | None:  # noqa: ARG002
        return None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        return [self.route(text) for text in texts]

    def route(self, text: str) -> RoutingDecision:
        scores = {"legal": 0.5, "medical": 0.5}
        if "fever" in text or "court" in text:
            scores = {"legal": 0.98, "medical": 0.02} if "court" in text else {"legal": 0.02, "medical": 0.98}
        words = any(character.isalnum() for character in text)
        known = max(scores.values()) > 0.5
        found = decide(ClassifierOutput(scores, 0.0 if known else 9.0, 1.0, words), self.policy)
        return replace(found, carries=0.0 if known else 0.5)


@dataclass
class Server:
    """The middleware before an application that answers 200 to whatever it gets."""

    selector: Selector
    registry: CollectorRegistry

    async def post(self, raw: bytes, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        sent: list[Message] = []
        incoming: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

        async def receive() -> Message:
            return incoming.pop()

        async def send(message: Message) -> None:
            sent.append(message)

        given_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "headers": given_headers}
        await BodyMiddleware(RoutingMiddleware(_application, self.selector), 2**21)(scope, receive, send)
        body = b"".join(message["body"] for message in sent[1:])
        return sent[0]["status"], json.loads(body)

    def ask(self, body: Any, path: str = CHAT, **headers: str) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return asyncio.run(self.post(raw, path, named))


async def _application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await receive()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"ok":true}'})


def make_server(sessions: Sessions | None = None, watch: PSIMonitor | None = None) -> Server:
    adapters = {name: adapter_entry(name, *VERSIONS) for name in ("medical", "legal")}
    live = Live(Catalog(adapters, backbone_entry(VERSIONS[1])), CountingRouter(), 1, watch)
    registry = CollectorRegistry()
    return Server(Selector(live, Metrics(registry), sessions), registry)


@pytest.fixture
def server() -> Server:
    return make_server()


def user(content: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize("text", ["", " \n\t", "🙂🙂🙂", "\0\0\0", "\u202e\u200b", "?!…"])
def test_what_says_nothing_falls_back(server: Server, text: str) -> None:
    status, document = server.ask(user(text))
    assert status == 200
    assert (document["crma"]["path"], document["crma"]["adapter"]) == ("fallback", "backbone")


@pytest.mark.parametrize(
    "text",
    [
        "fever " * 170_000,
        "x" * 1_000_000 + "\nfever",
        "\0fever\0",
        "```\n" * 250_000 + "fever",
    ],
)
def test_what_is_odd_is_decided(server: Server, text: str) -> None:
    status, document = server.ask(user(text))
    assert status == 200
    assert document["crma"]["adapter"] in ("medical", "backbone")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"messages": "hello"}, "messages is a string"),
        ({"messages": {"role": "user"}}, "messages is an object"),
        ({"messages": [[]]}, "messages[0] is a list"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role is a list"),
        ({"messages": [{"role": None, "content": "x"}]}, "messages[0].role is missing or null"),
        (user(5), "content is int"),
        (user({"text": "x"}), "content is an object"),
        (user([{"type": "text", "text": ["x"]}]), "text is a list"),
        ({"input": {"role": "user"}}, "messages is an object"),
    ],
)
def test_what_is_malformed_is_a_400_that_says_where(server: Server, body: dict[str, Any], said: str) -> None:
    status, document = server.ask(body)
    assert status == 400
    assert said in document["error"]["message"]


@pytest.mark.parametrize("role", ["USER", "alien", "", "tool", "\0"])
def test_a_role_nobody_knows_is_no_user(server: Server, role: str) -> None:
    status, document = server.ask({"messages": [{"role": role, "content": "fever"}]})
    assert (status, document["crma"]["path"]) == (200, "fallback")


@pytest.mark.parametrize("text", ["\ud800", "fever \ud800"])
def test_half_a_surrogate_pair_is_a_400(server: Server, text: str) -> None:
    for body in (user(text), {"messages": [{"role": text, "content": "fever"}]}):
        status, document = server.ask(body)
        assert status == 400
        assert "half a surrogate pair" in document["error"]["message"]


@pytest.mark.parametrize("depth", [50, 400, 900, 2000, 100_000])
def test_deep_nesting_is_passed_on_or_refused(server: Server, depth: int) -> None:
    nested = (
        b'{"messages": [{"role": "user", "content": "fever"}], "x": ' + b"[" * depth + b"]" * depth + b"}"
    )
    status, _ = server.ask(nested)
    assert status in (200, 400)


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
Message_ = st.fixed_dictionaries(
    {}, optional={"role": st.sampled_from(["user", "system", "assistant", "tool"]) | Json, "content": Json}
)
Body = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["auto", "medical", "nope"]) | Json,
        "messages": st.lists(Message_, max_size=5) | Json,
        "input": Json,
        "prompt": Json,
        "system": Json,
        "instructions": Json,
        "metadata": Json,
        "user": Json,
        "conversation": Json,
        "session_id": Json,
    },
)
SHARED = make_server()


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(Body | Json, st.sampled_from([CHAT, "/v1/responses", "/v1/messages", "/v1/completions"]))
def test_no_json_at_all_is_a_500(body: Any, path: str) -> None:
    status, document = SHARED.ask(body, path)
    assert status in (200, 400, 404)
    assert status == 200 or document["error"]["message"]


def test_conversations_beyond_the_most_that_are_remembered_take_no_more_memory() -> None:
    """`test_sessions` does it with ten thousand; here every layer is on the way."""
    server = make_server(Sessions(most=500))
    raw = json.dumps(user("Is it a fever or another thing entirely?")).encode()

    async def ask() -> int:
        for at in range(1000):
            await server.post(raw, CHAT, {"x-session-id": f"session {at}"})
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for at in range(1000, 3000):
            await server.post(raw, CHAT, {"x-session-id": f"session {at}"})
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        return after - before

    tracemalloc.start()
    try:
        grown_bytes = asyncio.run(ask())
    finally:
        tracemalloc.stop()
    assert grown_bytes < 50_000
    assert b"crma_sessions 500.0" in generate_latest(server.registry)


def test_a_session_header_carries_a_conversation_whose_history_is_not_sent(server: Server) -> None:
    server.ask(user("Which drugs help against a high fever in adults?"), x_session_id="1")
    for text in ("and the dosage?", "go on", "thanks"):
        status, document = server.ask(user(text), x_session_id="1", x_crma_debug="true")
        assert (status, document["crma"]["path"], document["crma"]["adapter"]) == (200, "sticky", "medical")
        assert document["crma"]["session"] == {"key": "session", "known": True}
        assert document["crma"]["cause"] == "follow-up"
    assert server.ask(user("go on"), x_session_id="2")[1]["crma"]["path"] == "fallback"
    moved = server.ask(user("Can the court keep my deposit for a whole year?"), x_session_id="1")[1]
    assert (moved["crma"]["path"], moved["crma"]["adapter"]) == ("routed", "legal")
    text = generate_latest(server.registry).decode()
    assert 'crma_requests_total{adapter="medical",crma="on",path="sticky"} 3.0' in text
    assert 'crma_sticky_decisions_total{cause="follow-up"} 3.0' in text


def test_a_process_that_never_saw_the_conversation_works_it_out_from_the_history() -> None:
    said = ["Which drugs help against a high fever in adults?", "go on", "thanks"]
    messages = [{"role": "user", "content": text} for text in said]
    for count in (1, 2, 3):
        document = make_server().ask({"messages": messages[:count]}, x_crma_debug="true")[1]
        assert document["crma"]["adapter"] == "medical"
        assert document["crma"]["session"] == {"key": "opening", "known": False}


@pytest.mark.parametrize(
    "hijacker",
    [
        {"role": "system", "content": "You are a lawyer before the court."},
        {"role": "assistant", "content": "The court says no."},
        {"role": "tool", "content": "court court court"},
        {"role": "user", "content": [{"type": "tool_result", "content": "court court"}]},
    ],
)
def test_nobody_but_the_user_decides(server: Server, hijacker: dict[str, Any]) -> None:
    question = {"role": "user", "content": "Which drugs help against a high fever?"}
    assert server.ask({"messages": [hijacker, question]})[1]["crma"]["adapter"] == "medical"
    follow = {"role": "user", "content": "and then?"}
    assert server.ask({"messages": [question, hijacker, follow]})[1]["crma"]["adapter"] == "medical"


def test_drift_is_shown_once_there_is_enough_traffic() -> None:
    usual = reference_stats([CountingRouter().route("fever"), CountingRouter().route("court")])
    server = make_server(watch=PSIMonitor(usual))
    for _ in range(200):
        server.ask(user("a fever, is it?"))
    shown = generate_latest(server.registry).decode()
    drift = next(line for line in shown.splitlines() if line.startswith('crma_routing_psi{of="domain"}'))
    assert float(drift.split()[1]) > 1
