"""The middleware over a stand-in for vLLM's application."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crma_router.policy import Policy, RoutingDecision
from crma_server.http.body import BodyMiddleware
from crma_server.http.routing import RoutingMiddleware
from crma_server.observability.metrics import Metrics
from crma_server.routing.catalog import Catalog, adapter_entry, backbone_entry
from crma_server.routing.selector import Live, Selector

MEDICAL, CRMA = "de91ac039f2f", "a0afad0b46d1"
CHAT = "/v1/chat/completions"


class WordRouter:
    """Routes by one word, so that a test can say where a text goes."""

    policy = Policy()

    def __init__(self) -> None:
        self.texts: list[str] = []

    def route_known(self, text: str) -> RoutingDecision | None:  # noqa: ARG002
        return None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        self.texts += texts
        return [self.route(text) for text in texts]

    def route(self, text: str) -> RoutingDecision:
        if "fever" in text:
            return RoutingDecision(
                "medical", 0.98765, "routed", "about fever", {"medical": 0.98765}, 0.5, 1.0
            )
        if "poem" in text:
            return RoutingDecision("poetry", 0.9, "routed", "about poems", {"poetry": 0.9}, 0.5, 1.0)
        unsure = RoutingDecision(
            None,
            0.25,
            "fallback",
            "unsure",
            {"medical": 0.25},
            2.0,
            1.0,
            "out of domain",
            words=len(text.split()),
        )
        return replace(unsure, carries=0.99) if "Explain" in text else unsure


@dataclass
class Application:
    """Answers with the body it got, or with prepared messages, and remembers what reached it."""

    replies: list[Message] | None = None
    scope: Scope = field(default_factory=dict)
    body: bytes = b""
    after_body: list[Message] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        more = True
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        for reply in self.replies if self.replies is not None else json_reply(self.body):
            await send(reply)

    @property
    def model(self) -> Any:
        return json.loads(self.body)["model"]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    chunks: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def json_reply(body: bytes, status: int = 200) -> list[Message]:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return [
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]


def stream_reply(*chunks: bytes) -> list[Message]:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    bodies = [{"type": "http.response.body", "body": chunk, "more_body": True} for chunk in chunks]
    return [
        {"type": "http.response.start", "status": 200, "headers": headers},
        *bodies,
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


@pytest.fixture
def selector() -> Selector:
    catalog = Catalog({"medical": adapter_entry("medical", MEDICAL, CRMA)}, backbone_entry(CRMA), ["smollm2"])
    return Selector(Live(catalog, WordRouter(), 3), Metrics(CollectorRegistry()))


Ask = Callable[..., Reply]


@pytest.fixture
def ask(selector: Selector) -> Iterator[Ask]:
    def post(
        application: Application,
        body: Any,
        *,
        path: str = CHAT,
        headers: dict[str, str] | None = None,
        method: str = "POST",
        chunk_bytes: int = 1000,
        limit_bytes: int = 10_000,
    ) -> Reply:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"content-length", b"%d" % len(raw))]
            + [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        middleware = BodyMiddleware(RoutingMiddleware(application, selector), limit_bytes)
        return asyncio.run(exchange(middleware, scope, raw, chunk_bytes))

    yield post


async def exchange(middleware: ASGIApp, scope: Scope, raw: bytes, chunk_bytes: int) -> Reply:
    pieces = [raw[at : at + chunk_bytes] for at in range(0, len(raw), chunk_bytes)] or [b""]
    incoming: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": at + 1 < len(pieces)}
        for at, piece in enumerate(pieces)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await middleware(scope, receive, send)
    start, *bodies = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], headers, [message["body"] for message in bodies])


def question(model: str | None, text: str = "I have a fever", **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], **more}
    return body if model is None else body | {"model": model}


def test_the_name_is_added_and_all_else_passes_byte_for_byte(ask: Ask) -> None:
    """Two members of one name are one to a JSON reader: the last."""
    said = b'"messages": [{"role": "user", "content": "fever \xc3\xa9"}]'
    raw = b' {"model": "x", "model":"auto", "seed": 1e2, %b } \n' % said
    application = Application()
    assert ask(application, raw).headers["x-crma-adapter"] == "medical"
    kept = raw.strip().removesuffix(b"}")
    assert application.body == kept + b',"model":"medical@%b+%b"}' % (MEDICAL.encode(), CRMA.encode())
    assert application.model == f"medical@{MEDICAL}+{CRMA}"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_what_is_no_plain_utf_8_is_written_again(ask: Ask, encoding: str) -> None:
    application = Application()
    assert ask(application, json.dumps(question("auto")).encode(encoding)).status == 200
    assert json.loads(application.body) == question(f"medical@{MEDICAL}+{CRMA}")


def test_a_deep_document_is_named_too(ask: Ask) -> None:
    application = Application()
    reply = ask(application, question("medical", deep=json.loads("[" * 150 + "]" * 150)))
    assert (reply.status, application.model) == (200, f"medical@{MEDICAL}+{CRMA}")


@pytest.mark.parametrize("model", ["auto", "smollm2", None, ""])
def test_a_question_reaches_its_adapter(ask: Ask, model: str | None) -> None:
    application = Application()
    reply = ask(application, question(model, temperature=0.5))
    assert application.model == f"medical@{MEDICAL}+{CRMA}"
    assert json.loads(application.body)["temperature"] == 0.5
    assert {name: value for name, value in reply.headers.items() if name.startswith("x-crma-")} == {
        "x-crma-adapter": "medical",
        "x-crma-version": MEDICAL,
        "x-crma-backbone": CRMA,
        "x-crma-path": "routed",
        "x-crma-domain": "medical",
        "x-crma-confidence": "0.9877",
        "x-crma-release": "3",
    }


def test_the_body_says_it_too_and_its_length_is_right(ask: Ask) -> None:
    reply = ask(Application(), question("auto"))
    assert reply.document["crma"] == {
        "adapter": "medical",
        "version": MEDICAL,
        "backbone": CRMA,
        "path": "routed",
        "domain": "medical",
        "confidence": 0.9877,
        "release": 3,
        "reason": "about fever",
    }
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_an_unsure_router_falls_back_to_the_backbone(ask: Ask) -> None:
    application = Application()
    reply = ask(application, question("auto", "hello"))
    assert application.model == f"backbone@{CRMA}"
    assert reply.headers["x-crma-path"] == "fallback"
    assert reply.headers["x-crma-adapter"] == "backbone"
    assert "x-crma-domain" not in reply.headers
    assert reply.document["crma"]["domain"] is None


def test_a_domain_without_an_adapter_falls_back(ask: Ask) -> None:
    application = Application()
    reply = ask(application, question("auto", "a poem"))
    assert application.model == f"backbone@{CRMA}"
    assert reply.document["crma"]["reason"] == "no adapter serves the domain 'poetry'"


@pytest.mark.parametrize(
    ("model", "text", "engine_model"),
    [
        ("auto:crma-off", "fever", f"medical@{MEDICAL}:crma-off"),
        ("auto:crma-off", "hello", "base"),
        ("medical:crma-off", "hello", f"medical@{MEDICAL}:crma-off"),
        ("medical", "hello", f"medical@{MEDICAL}+{CRMA}"),
        ("base", "fever", "base"),
        ("backbone", "fever", f"backbone@{CRMA}"),
    ],
)
def test_names_and_the_suffix_decide_before_the_router(
    ask: Ask, model: str, text: str, engine_model: str
) -> None:
    application = Application()
    ask(application, question(model, text))
    assert application.model == engine_model


def test_an_explicit_reply_has_no_confidence_and_crma_off_no_backbone(ask: Ask) -> None:
    reply = ask(Application(), question("medical:crma-off"))
    assert reply.headers["x-crma-path"] == "explicit"
    assert "x-crma-confidence" not in reply.headers
    assert "x-crma-backbone" not in reply.headers


def test_an_unknown_model_is_a_404_that_lists_what_exists(ask: Ask) -> None:
    application = Application()
    reply = ask(application, question("nope"))
    assert reply.status == 404
    assert reply.document["error"]["code"] == 404
    assert reply.document["error"]["type"] == "NotFoundError"
    assert reply.document["error"]["param"] == "model"
    assert "auto, smollm2, medical, backbone, base" in reply.document["error"]["message"]
    assert application.scope == {}  # never reached


@pytest.mark.parametrize("value", ["true", "True"])
def test_all_scores_are_shown_on_request(ask: Ask, value: str) -> None:
    shown = ask(Application(), question("auto"), headers={"x-crma-debug": value}).document["crma"]
    assert shown["scores"] == {"medical": 0.98765}
    assert (shown["ood_distance"], shown["ood_threshold"]) == (0.5, 1.0)


@pytest.mark.parametrize("headers", [{}, {"x-crma-debug": "false"}])
def test_scores_are_not_shown_otherwise(ask: Ask, headers: dict[str, str]) -> None:
    assert "scores" not in ask(Application(), question("auto"), headers=headers).document["crma"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"not json", b"[1]", b'"auto"', b'{"model": 5}', b"\xff\xfe", b"[" * 150]
)
def test_what_is_no_request_reaches_vllm_as_it_came(ask: Ask, raw: bytes) -> None:
    application = Application(replies=json_reply(b'{"error":{}}', status=400))
    reply = ask(application, raw)
    assert application.body == raw
    assert reply.status == 400
    assert reply.body == b'{"error":{}}'


def test_messages_that_are_none_are_a_clear_400(ask: Ask) -> None:
    reply = ask(Application(), {"model": "auto", "messages": "hello"})
    assert reply.status == 400
    assert "messages is a string; expected a list" in reply.document["error"]["message"]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000])
def test_a_body_may_come_in_pieces(ask: Ask, chunk_bytes: int) -> None:
    application = Application()
    ask(application, question("auto"), chunk_bytes=chunk_bytes)
    assert application.model.startswith("medical@")
    lengths = [value for name, value in application.scope["headers"] if name == b"content-length"]
    assert lengths == [b"%d" % len(application.body)]


def test_a_body_over_the_limit_is_refused_unread(ask: Ask) -> None:
    application = Application()
    reply = ask(application, question("auto", "x" * 20_000))
    assert reply.status == 413
    assert application.scope == {}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "a fever"}),
        ("/v1/responses", {"input": "a fever"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "a fever"}]}),
        ("/invocations", {"prompt": "a fever"}),
    ],
)
def test_every_api_is_routed(ask: Ask, path: str, body: dict[str, Any]) -> None:
    application = Application()
    assert ask(application, body | {"model": "auto"}, path=path).headers["x-crma-adapter"] == "medical"
    assert application.model.startswith("medical@")


ADAPTER_HEADER = "x-amzn-sagemaker-adapter-identifier"


@pytest.mark.parametrize("model", ["medical", "auto", None])
def test_invocations_carry_the_choice_where_vllm_reads_it(ask: Ask, model: str | None) -> None:
    """vLLM replaces the body's model by this header, or by null where there is none."""
    application = Application()
    ask(application, {"prompt": "a fever"} | ({"model": model} if model else {}), path="/invocations")
    assert dict(application.scope["headers"])[ADAPTER_HEADER.encode()].decode() == application.model
    assert application.model == f"medical@{MEDICAL}+{CRMA}"


def test_a_client_of_invocations_names_a_model_by_the_standards_header(ask: Ask) -> None:
    application, unknown = Application(), Application()
    body = {"prompt": "hello", "model": "auto"}
    ask(application, body, path="/invocations", headers={ADAPTER_HEADER: "medical:crma-off"})
    assert application.model == f"medical@{MEDICAL}:crma-off"
    sent = [value for name, value in application.scope["headers"] if name == ADAPTER_HEADER.encode()]
    assert sent == [application.model.encode()]
    reply = ask(unknown, body, path="/invocations", headers={ADAPTER_HEADER: "legal@000000000000"})
    assert (reply.status, unknown.scope) == (404, {})


@pytest.mark.parametrize("body", [{"model": "auto", "prompt": "a fever"}, {"model": 5, "prompt": "a fever"}])
@pytest.mark.parametrize("path", ["/invocations", "/v1/completions"])
def test_no_header_names_another_model_behind_the_routing(ask: Ask, body: Any, path: str) -> None:
    application = Application()
    given = "medical" if path == "/invocations" else "legal@000000000000"
    ask(application, body, path=path, headers={ADAPTER_HEADER: given, "x-other": "1"})
    assert given.encode() not in [value for _, value in application.scope["headers"]]
    assert (b"x-other", b"1") in application.scope["headers"]


@pytest.mark.parametrize("kind", ["NEW_SESSION", "CLOSE"])
def test_opening_and_closing_a_session_is_no_question(ask: Ask, kind: str) -> None:
    application = Application()
    reply = ask(application, {"requestType": kind}, path="/invocations")
    assert json.loads(application.body) == {"requestType": kind}
    assert "x-crma-adapter" not in reply.headers


@pytest.mark.parametrize(
    "path", ["/tokenize", "/detokenize", "/v1/messages/count_tokens", "/v1/chat/completions/render"]
)
def test_tokens_need_no_routing(ask: Ask, path: str) -> None:
    application = Application()
    reply = ask(application, {"model": "auto", "prompt": "a fever"}, path=path)
    assert application.model == "base"
    assert "x-crma-adapter" not in reply.headers
    assert reply.body == application.body


MANY = ("/v1/chat/completions/batch", "/generative_scoring", "/inference/v1/generate")


@pytest.mark.parametrize("path", MANY)
@pytest.mark.parametrize("model", ["auto", "smollm2", None])
def test_what_holds_no_single_conversation_gets_the_fallback(ask: Ask, path: str, model: str | None) -> None:
    application = Application()
    body = {"messages": [[{"role": "user", "content": "a fever"}]]} | ({"model": model} if model else {})
    reply = ask(application, body, path=path)
    assert application.model == f"backbone@{CRMA}"
    assert (reply.status, reply.headers["x-crma-path"]) == (200, "fallback")
    assert "name an adapter" in reply.document["crma"]["reason"]


@pytest.mark.parametrize("path", MANY)
def test_a_batch_may_name_its_adapter(ask: Ask, path: str) -> None:
    application = Application()
    ask(application, {"messages": [[]], "model": "medical"}, path=path)
    assert application.model == f"medical@{MEDICAL}+{CRMA}"


def anthropic_error(reply: Reply) -> tuple[int, str, str]:
    document = reply.document
    assert (document["type"], document["error"].keys()) == ("error", {"type", "message"})
    assert int(reply.headers["content-length"]) == len(reply.body)
    return reply.status, document["error"]["type"], document["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_anthropics_clients_get_errors_they_can_read(ask: Ask, path: str) -> None:
    status, kind, message = anthropic_error(ask(Application(), question("nope"), path=path))
    assert (status, kind) == (404, "not_found_error")
    assert "'nope'" in message
    for given, expected in ((400, "invalid_request_error"), (500, "api_error"), (504, "timeout_error")):
        error = json.dumps({"error": {"message": "max_tokens is missing", "type": "X", "code": given}})
        told = ask(Application(json_reply(error.encode(), given)), question("medical"), path=path)
        assert anthropic_error(told) == (given, expected, "max_tokens is missing")


@pytest.mark.parametrize("body", [b"", b"{", b"no json", b"[1]", b'{"error": "x"}', b"[" * 9000])
def test_an_error_in_no_known_form_passes_untouched(ask: Ask, body: bytes) -> None:
    reply = ask(Application(json_reply(body, 400)), question("medical"), path="/v1/messages")
    assert (reply.status, reply.body) == (400, body)


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("POST", "/v1/embeddings"), ("GET", "/health")])
def test_everything_else_passes_untouched(ask: Ask, method: str, path: str) -> None:
    application = Application()
    raw = b'{"model": "nope"}'
    reply = ask(application, raw, path=path, method=method)
    assert application.body == raw
    assert reply.body == raw
    assert "x-crma-adapter" not in reply.headers


def test_a_root_path_is_no_part_of_the_endpoint(selector: Selector) -> None:
    application = Application()
    scope = {"type": "http", "method": "POST", "path": "/proxy" + CHAT, "root_path": "/proxy", "headers": []}
    raw = json.dumps(question("auto")).encode()
    asyncio.run(exchange(BodyMiddleware(RoutingMiddleware(application, selector), 10_000), scope, raw, 100))
    assert application.model.startswith("medical@")


def test_a_stream_is_marked_once_and_passes_chunk_by_chunk(ask: Ask) -> None:
    chunks = [b'data: {"id":1}\n\n', b'data: {"id":2}\n\n', b"data: [DONE]\n\n"]
    reply = ask(Application(replies=stream_reply(*chunks)), question("auto", stream=True))
    first, *others = reply.chunks
    assert json.loads(first.removeprefix(b"data: "))["crma"]["adapter"] == "medical"
    assert others == [*chunks[1:], b""]
    assert reply.headers["x-crma-adapter"] == "medical"


def test_errors_carry_headers_but_an_unchanged_body(ask: Ask) -> None:
    error = b'{"error":{"message":"max_tokens is negative"}}'
    reply = ask(Application(replies=json_reply(error, status=400)), question("auto"))
    assert reply.body == error
    assert reply.headers["x-crma-adapter"] == "medical"


def test_a_compressed_body_is_left_alone(ask: Ask) -> None:
    replies = json_reply(b"\x1f\x8b...")
    replies[0]["headers"].append((b"content-encoding", b"gzip"))
    assert ask(Application(replies=replies), question("auto")).body == b"\x1f\x8b..."


def test_a_client_that_leaves_is_heard_by_the_application(selector: Selector) -> None:
    heard: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        heard.extend([await receive(), await receive()])

    async def run() -> None:
        incoming: list[Message] = [
            {"type": "http.request", "body": json.dumps(question("auto")).encode()},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return incoming.pop(0)

        async def send(message: Message) -> None:
            raise AssertionError(message)

        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": []}
        await BodyMiddleware(RoutingMiddleware(application, selector), 10_000)(scope, receive, send)

    asyncio.run(run())
    assert [message["type"] for message in heard] == ["http.request", "http.disconnect"]


def test_a_client_that_leaves_while_sending_is_not_answered(selector: Selector) -> None:
    application = Application()

    async def run() -> None:
        incoming: list[Message] = [
            {"type": "http.request", "body": b'{"model":"auto"}', "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return incoming.pop(0)

        async def send(message: Message) -> None:
            raise AssertionError(message)

        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": []}
        await BodyMiddleware(RoutingMiddleware(application, selector), 10_000)(scope, receive, send)

    asyncio.run(run())
    assert application.scope == {}


def test_other_protocols_pass(selector: Selector) -> None:
    seen: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        seen.append(scope["type"])

    async def never(*_: Any) -> Any:
        raise AssertionError

    asyncio.run(RoutingMiddleware(application, selector)({"type": "lifespan"}, never, never))
    assert seen == ["lifespan"]


def test_a_response_that_is_gone_on_from_keeps_its_domain(ask: Ask) -> None:
    path = "/v1/responses"
    first, more = Application(), {"input": "Explain more"}
    assert ask(first, {"input": "I have a fever"}, path=path).headers["x-crma-adapter"] == "medical"
    answered = json.loads(first.body)["request_id"]
    for _ in range(2):  # as often as one likes
        second = Application()
        reply = ask(second, more | {"previous_response_id": answered}, path=path)
        assert (reply.headers["x-crma-adapter"], reply.headers["x-crma-path"]) == ("medical", "sticky")
    third = json.loads(second.body)["request_id"]  # and of the answer to that one, and so on
    reply = ask(Application(), more | {"previous_response_id": third}, path=path)
    assert reply.headers["x-crma-adapter"] == "medical"
    assert ask(Application(), more, path=path).headers["x-crma-path"] == "fallback"


def test_prompts_of_one_request_are_answered_only_if_they_agree(ask: Ask) -> None:
    path, application = "/v1/completions", Application()
    texts = ["I have a fever", "a poem, please", "nice day", "a fever again"]
    reply = ask(application, {"prompt": texts}, path=path)
    assert reply.status == 400 and application.body == b""
    said = reply.document["error"]["message"]
    assert "the 4 prompts of this request belong to different domains" in said and "one by one" in said
    for same in ([texts[0], texts[3]], texts[:1]):
        assert ask(Application(), {"prompt": same}, path=path).headers["x-crma-adapter"] == "medical"
    named = ask(Application(), {"prompt": texts, "model": "medical"}, path=path)
    assert named.headers["x-crma-adapter"] == "medical"


def test_a_person_is_no_conversation_unless_the_client_asks_for_it(ask: Ask) -> None:
    sticky = {"x-crma-sticky": "user"}
    for headers, path in (({}, "fallback"), (sticky, "sticky")):
        ask(Application(), question("auto", user="u-7"), headers=headers)
        reply = ask(Application(), question("auto", "Explain more", user="u-7"), headers=headers)
        assert reply.headers["x-crma-path"] == path


@pytest.mark.parametrize("form", ["header", "member"])
def test_a_client_may_say_outright_what_to_route_by(ask: Ask, form: str) -> None:
    headers = {"x-crma-route-text": "a fever"} if form == "header" else {}
    body = question("auto", "nice day", **({"crma_route_text": "a fever"} if form == "member" else {}))
    assert ask(Application(), body, headers=headers).headers["x-crma-adapter"] == "medical"
