"""Requests of every kind through all layers at once: what the client, the engine, the log and the list of
decisions get of each. `golden.json` holds the answers; CRMA_GOLDEN=write writes it again, to be read."""

import asyncio
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, generate_latest

from crma_router.policy import Policy, RoutingDecision
from crma_server.app import add_layers, watch_app
from crma_server.http.keys import KeySource
from crma_server.http.limits import Drain
from crma_server.observability.decisions import DecisionRecord, Decisions
from crma_server.observability.metrics import Metrics
from crma_server.routing.catalog import Canary, Catalog, adapter_entry, backbone_entry
from crma_server.routing.selector import Live, Selector
from crma_server.settings import Settings

FILE = Path(__file__).with_name("golden.json")
WRITE = os.environ.get("CRMA_GOLDEN") == "write"
CHAT, COMPLETIONS, RESPONSES, MESSAGES = (
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
)  # fmt: skip
INVOCATIONS, BATCH, TOKENIZE = "/invocations", "/v1/chat/completions/batch", "/tokenize"
ADAPTER = "x-amzn-sagemaker-adapter-identifier"
FEVER = [{"role": "user", "content": "I have a fever"}]
HELLO = [{"role": "user", "content": "hello"}]
# What a reply's headers say that is not of the day's date or of how it was sent.
SHOWN = ("content-type", "content-length", "www-authenticate", "retry-after", "connection")


class FeverRouter:
    """Sends fever to `medical`, contracts to `legal`, poems to a domain without an adapter."""

    policy = Policy()

    def route_known(self, text: str) -> RoutingDecision | None:  # noqa: ARG002
        return None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        return [self.route(text) for text in texts]

    def route(self, text: str) -> RoutingDecision:
        for word, domain in (("fever", "medical"), ("contract", "legal"), ("poem", "poetry")):
            if word in text:
                scores = {domain: 0.98765, "other": 0.01}
                return RoutingDecision(domain, 0.98765, "routed", f"about {word}", scores, 0.5, 1.0)
        scores = {"medical": 0.25}
        return RoutingDecision(None, 0.25, "fallback", "unsure", scores, 2.0, 1.0, "out of domain")


def chat(model: str | None = "auto", messages: Any = FEVER, **more: Any) -> dict[str, Any]:
    return {"messages": messages, **more} | ({} if model is None else {"model": model})


@dataclass(frozen=True)
class Case:
    """One request; `body` is sent as JSON unless it is bytes."""

    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    key: str | None = "user"


CASES: dict[str, Case] = {
    "chat auto": Case(CHAT, chat()),
    "chat without model": Case(CHAT, chat(None)),
    "chat empty model": Case(CHAT, chat("")),
    "chat served name": Case(CHAT, chat("smollm2")),
    "chat fallback": Case(CHAT, chat(messages=HELLO)),
    "chat no adapter": Case(CHAT, chat(messages=[{"role": "user", "content": "a poem"}])),
    "chat auto crma off": Case(CHAT, chat("auto:crma-off")),
    "chat named": Case(CHAT, chat("medical", HELLO)),
    "chat named crma off": Case(CHAT, chat("medical:crma-off")),
    "chat exact": Case(CHAT, chat("medical@aaaaaaaaaaaa+cccccccccccc")),
    "chat base": Case(CHAT, chat("base")),
    "chat backbone": Case(CHAT, chat("backbone")),
    "chat unknown model": Case(CHAT, chat("medcial")),
    "chat model is a number": Case(CHAT, chat(messages=FEVER) | {"model": 5}),
    "chat debug": Case(CHAT, chat(), {"x-crma-debug": "true"}),
    "chat debug session": Case(CHAT, chat(), {"x-crma-debug": "true", "x-session-id": "s2"}),
    "chat canary by session": Case(CHAT, chat("legal"), {"x-session-id": "s1"}),
    "chat canary another session": Case(CHAT, chat("legal"), {"x-session-id": "s3"}),
    "chat routed to a canary": Case(
        CHAT, chat(messages=[{"role": "user", "content": "a contract"}]), {"x-session-id": "s1"}
    ),
    "chat route text header": Case(CHAT, chat(messages=HELLO), {"x-crma-route-text": "a fever"}),
    "chat route text member": Case(CHAT, chat(messages=HELLO, crma_route_text="a fever")),
    "chat route text no string": Case(CHAT, chat(messages=HELLO, crma_route_text=5)),
    "chat messages are no list": Case(CHAT, chat(messages="hello")),
    "chat stream": Case(CHAT, chat(stream=True)),
    "chat stream named": Case(CHAT, chat("medical", stream=True)),
    "chat engine error": Case(CHAT, chat(fail=400)),
    "chat body no json": Case(CHAT, b"{nope"),
    "chat body empty": Case(CHAT, b""),
    "chat body a list": Case(CHAT, b"[1]"),
    "chat body too deep": Case(CHAT, b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}"),
    "chat body half a surrogate": Case(CHAT, b'{"model": "auto", "messages": [{"content": "\\ud800"}]}'),
    "chat body too large": Case(CHAT, chat(messages=[{"role": "user", "content": "x" * 5000}])),
    "chat utf-16": Case(CHAT, json.dumps(chat()).encode("utf-16")),
    "chat two members model": Case(CHAT, b'{"model":"x", "model":"auto","messages":[]}'),
    "chat without key": Case(CHAT, chat(), key=None),
    "chat wrong key": Case(CHAT, chat(), key="other"),
    "chat bad deadline": Case(CHAT, chat(), {"x-crma-deadline-ms": "soon"}),
    "chat deadline": Case(CHAT, chat(sleep=5), {"x-crma-deadline-ms": "100"}),
    "chat own request id": Case(CHAT, chat(), {"x-request-id": "visit-1"}),
    "completion auto": Case(COMPLETIONS, {"model": "auto", "prompt": "a fever"}),
    "completion several prompts": Case(COMPLETIONS, {"prompt": ["a fever", "high fever"]}),
    "completion prompts disagree": Case(COMPLETIONS, {"prompt": ["a fever", "hello"]}),
    "completion token ids": Case(COMPLETIONS, {"prompt": [1, 2, 3]}),
    "completion stream": Case(COMPLETIONS, {"prompt": "a fever", "stream": True}),
    "responses auto": Case(RESPONSES, {"input": "a fever"}),
    "responses own id": Case(RESPONSES, {"input": "a fever", "request_id": "resp_1"}),
    "responses gone on from": Case(RESPONSES, {"input": "hello", "previous_response_id": "resp_1"}),
    "responses items": Case(RESPONSES, {"input": FEVER, "model": "auto"}),
    "messages auto": Case(MESSAGES, chat(system="Be kind", max_tokens=5)),
    "messages unknown model": Case(MESSAGES, chat("nope")),
    "messages engine error": Case(MESSAGES, chat(fail=400)),
    "messages without key": Case(MESSAGES, chat(), key=None),
    "messages too large": Case(MESSAGES, chat(messages=[{"role": "user", "content": "x" * 5000}])),
    "messages count tokens": Case("/v1/messages/count_tokens", chat()),
    "invocations auto": Case(INVOCATIONS, {"prompt": "a fever"}),
    "invocations by header": Case(INVOCATIONS, {"prompt": "hello"}, {ADAPTER: "medical"}),
    "invocations session": Case(INVOCATIONS, {"requestType": "NEW_SESSION"}),
    "adapter header elsewhere": Case(CHAT, chat(), {ADAPTER: "legal"}),
    "batch auto": Case(BATCH, {"messages": [FEVER], "model": "auto"}),
    "batch named": Case(BATCH, {"messages": [FEVER], "model": "medical"}),
    "scoring without model": Case("/generative_scoring", {"items": ["a"]}),
    "tokenize auto": Case(TOKENIZE, {"model": "auto", "prompt": "a fever"}),
    "tokenize named": Case(TOKENIZE, {"model": "medical", "prompt": "a fever"}),
    "tokenize unknown": Case(TOKENIZE, {"model": "nope", "prompt": "a fever"}),
    "get models": Case("/v1/models", method="GET"),
    "get models without key": Case("/v1/models", method="GET", key=None),
    "health": Case("/health", method="GET", key=None),
    "ready": Case("/ready", method="GET", key=None),
    "metrics with user key": Case("/metrics", method="GET"),
    "metrics without key": Case("/metrics", method="GET", key=None),
    "unknown route user key": Case("/v2/everything", {}),
    "unknown route admin key": Case("/v2/everything", {}, key="boss"),
    "admin route user key": Case("/crma/v1/status", method="GET"),
    "admin route admin key": Case("/crma/v1/status", method="GET", key="boss"),
    "chat admin key": Case(CHAT, chat(), key="boss"),
    "preflight": Case(CHAT, method="OPTIONS", key=None),
}


@dataclass
class Stack:
    """Every layer around an application that answers with what it got."""

    folder: Path
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    decisions: Decisions = field(default_factory=Decisions)
    engine: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.app = FastAPI()
        self.app.add_api_route("/{path:path}", self._answer, methods=["GET", "POST"])
        canary = Canary(adapter_entry("legal", "d" * 12, "c" * 12), 0.5)
        entries = {"medical": adapter_entry("medical", "a" * 12, "c" * 12)}
        entries["legal"] = adapter_entry("legal", "b" * 12, None)
        catalog = Catalog(entries, backbone_entry("c" * 12), ["smollm2"], canaries={"legal": canary})
        metrics = Metrics(self.registry)
        selector = Selector(Live(catalog, FeverRouter(), 3), metrics)
        settings = Settings(
            inference_keys=KeySource(("user",)),
            admin_keys=KeySource(("boss",)),
            max_body_bytes=2000,
            request_log=str(self.folder / "log"),
        )
        routes = self.app.router.routes
        add_layers(self.app, settings, selector, Drain(), metrics.count_limited, lambda: None)
        routes.insert(0, routes.pop())  # before the route that takes every path
        routes.insert(0, routes.pop())
        watch_app(self.app, settings, self.decisions, traced=False)

    async def _answer(self, request: Request) -> Response:
        raw = await request.body()
        headers = {name: value for name, value in request.headers.items() if name.startswith(("x-amzn",))}
        length = request.headers.get("content-length")
        self.engine = {"body": raw.decode("utf-8", "backslashreplace"), "headers": headers, "length": length}
        try:
            document = json.loads(raw)
        except ValueError:
            document = {}
        asked = document if isinstance(document, dict) else {}
        await asyncio.sleep(asked.get("sleep", 0))
        if status := asked.get("fail"):
            error = {"message": "max_tokens is missing", "type": "BadRequestError", "param": None}
            return JSONResponse({"error": error | {"code": status}}, status)
        if asked.get("stream"):
            return Response('data: {"id": 1}\n\ndata: [DONE]\n\n', media_type="text/event-stream")
        return JSONResponse({"answer": "yes"})

    def counters(self) -> list[str]:
        """What was counted: no values that a clock decides."""
        names = ("crma_requests_total", "crma_routing_decisions_total", "crma_fallbacks_total",
                 "crma_limited_requests_total")  # fmt: skip
        lines = generate_latest(self.registry).decode().splitlines()
        return sorted(line for line in lines if line.startswith(names))

    async def ask(self, case: Case) -> dict[str, Any]:
        """What everybody saw of one request."""
        self.engine, before = None, len(self.decisions.after(0))
        log = self.folder / "log"
        logged = log.stat().st_size if log.exists() else 0
        headers = {"authorization": f"Bearer {case.key}"} if case.key else {}
        content = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            reply = await client.request(
                case.method, case.path, headers=headers | case.headers,
                content=content if case.method == "POST" else None,
            )  # fmt: skip
        lines = log.read_bytes()[logged:].splitlines() if log.exists() else []
        return {
            "status": reply.status_code,
            "headers": {
                name: value
                for name, value in reply.headers.items()
                if name.startswith("x-crma-") or name in SHOWN
            },
            "body": reply.text,
            "engine": self.engine,
            "log": [_timeless(json.loads(line)) for line in lines],
            "decisions": [_timeless(json.loads(json.dumps(_document(each))))
                          for each in self.decisions.after(0)[before:]],
        }  # fmt: skip


def _document(decision: DecisionRecord) -> dict[str, object]:
    return decision.to_dict()


# Of the moment, or drawn; that they are there is asked all the same.
_MOMENT = ("at", "seconds", "first_byte_seconds", "route_seconds", "request_id", "sent_bytes", "id")


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    return {
        name: "..." if name in _MOMENT and value != "visit-1" else value for name, value in document.items()
    }


def _drawn(seen: dict[str, Any]) -> dict[str, Any]:
    """Without the id that a response is given."""
    engine = seen["engine"]
    if engine is not None and '"request_id":"resp_' in engine["body"]:
        head, _, rest = engine["body"].partition('"request_id":"resp_')
        if rest[:32].isalnum() and len(rest) > 32:
            engine["body"] = f'{head}"request_id":"resp_{"." * 32}{rest[32:]}'
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of each case, asked in their order, and what was counted in the end."""
    stack = Stack(tmp_path_factory.mktemp("golden"))
    found: dict[str, Any] = {name: _drawn(asyncio.run(stack.ask(case))) for name, case in CASES.items()}
    found["counters"] = stack.counters()
    if WRITE:
        FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return found


@pytest.mark.parametrize("name", [*CASES, "counters"])
def test_everybody_sees_of_a_request_what_they_saw(name: str, seen: dict[str, Any]) -> None:
    assert seen[name] == json.loads(FILE.read_text(encoding="utf-8"))[name]
