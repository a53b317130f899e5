"""The ASGI layer around vLLM's application that routes requests and marks replies.

Owns: which endpoints name a model, rewriting `model`, and passing everything else through untouched.
Knows nothing of how the choice is made, nor of vLLM: any ASGI application can stand behind it.
"""

import json
import time
import uuid
from dataclasses import replace
from enum import Enum
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from crma_adapters.errors import RouterError, UnknownModelError
from crma_router.batching import RouterBusyError
from crma_router.conversation.sessions import SessionKey
from crma_router.service import Asked
from crma_server.http.access import route_path
from crma_server.http.body_limit import replay
from crma_server.http.marked_reply import MarkedReply
from crma_server.http.marks import DEBUG_HEADER, mark_headers, mark_object
from crma_server.http.replies import AnthropicErrors, is_anthropic, send_error
from crma_server.http.request_text import request_conversation
from crma_server.http.session_key import session_key
from crma_server.http.splice import splice_member
from crma_server.observability.observation import tell_choice
from crma_server.routing.catalog import AUTO, BASE
from crma_server.routing.in_flight import Lease
from crma_server.routing.selector import Choice, Selector

# Images travel in bodies as base64; anything larger than this is not a prompt.
MAX_BODY_BYTES = 64 * 2**20


class Kind(Enum):
    """How an endpoint uses its `model`."""

    ROUTED = "routed"
    NAMED = "named"  # answers with a model, but holds no single conversation: "auto" is the fallback
    TOKENS = "tokens"  # uses the tokenizer alone, which every adapter shares


ENDPOINTS = {
    "/v1/chat/completions": Kind.ROUTED,
    "/v1/completions": Kind.ROUTED,
    "/v1/responses": Kind.ROUTED,
    "/v1/messages": Kind.ROUTED,
    "/invocations": Kind.ROUTED,
    "/v1/chat/completions/batch": Kind.NAMED,
    "/generative_scoring": Kind.NAMED,
    "/inference/v1/generate": Kind.NAMED,
    "/v1/systemone": Kind.NAMED,
    "/v1/chat/completions/render": Kind.TOKENS,
    "/v1/chat/completions/derender": Kind.TOKENS,
    "/v1/completions/render": Kind.TOKENS,
    "/v1/completions/derender": Kind.TOKENS,
    "/v1/responses/render": Kind.TOKENS,
    "/v1/messages/render": Kind.TOKENS,
    "/tokenize": Kind.TOKENS,
    "/detokenize": Kind.TOKENS,
    "/v1/messages/count_tokens": Kind.TOKENS,
}

RESPONSES = "/v1/responses"
# vLLM's /invocations puts this header's value, or null, in the place of the body's `model`, behind the
# routing here (model_hosting_container_standards.sagemaker.inject_adapter_id). So it carries what was chosen.
INVOCATIONS = "/invocations"
ADAPTER_HEADER = b"x-amzn-sagemaker-adapter-identifier"
# What opens and closes one of that standard's sessions is no question, and may hold no other member.
_SESSION_REQUEST = "requestType"


class RoutingMiddleware:
    """Chooses what answers each request by its `model`, and has the reply say so."""

    def __init__(self, app: ASGIApp, selector: Selector, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._selector = selector
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = _kind(scope)
        if kind is None:
            return await self._app(scope, receive, send)
        named = _named_by_header(scope)
        scope = _without(scope, ADAPTER_HEADER)
        if is_anthropic(scope):
            send = AnthropicErrors(send)
        try:
            body = await _read_body(receive, self._max_body_bytes)
        except _BodyTooLargeError:
            message = f"the body is larger than {self._max_body_bytes} bytes: send less"
            return await send_error(scope, send, 413, "RequestTooLarge", message)
        if body is None:  # nobody is left to answer
            return None
        document = _parse(body)
        if document is None or _SESSION_REQUEST in document:
            # Not a question: vLLM answers it, or says what is wrong with it.
            return await self._app(scope, replay(body, receive), send)
        with self._selector.in_flight.lease() as lease:  # what answers stays until the reply has ended
            await self._answer(kind, named, body, document, lease, scope, receive, send)
        return None

    async def _answer(
        self,
        kind: Kind,
        named: str | None,
        body: bytes,
        document: dict[str, Any],
        lease: Lease,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        name = named or document.get("model") or AUTO
        if kind is Kind.TOKENS and name in self._selector.live.catalog.routing_names:
            name = BASE
        if (
            kind is Kind.ROUTED
            and route_path(scope) == RESPONSES
            and not isinstance(document.get("request_id"), str)
        ):
            reply_id = f"resp_{uuid.uuid4().hex}"  # known beforehand, so that it may be gone on from
            document, body = (
                document | {"request_id": reply_id},
                _with_member(body, document, "request_id", reply_id),
            )
        started_ns = time.time_ns()
        try:
            asked = (lambda: _asked(scope, document)) if kind is Kind.ROUTED else None
            choice = await self._selector.choose(name, asked, lease)
        except UnknownModelError as error:
            return await send_error(scope, send, 404, "NotFoundError", str(error), param="model")
        except RouterBusyError as error:
            return await send_error(scope, send, 503, "ServiceUnavailableError", str(error))
        except RouterError as error:
            return await send_error(scope, send, 400, "BadRequestError", str(error))
        if kind is not Kind.TOKENS:
            tell_choice(scope, name, choice, document, started_ns, time.time_ns())
        renamed = _with_member(body, document, "model", choice.target.engine_model)
        if not renamed:
            return await send_error(
                scope, send, 400, "BadRequestError", "the body is nested too deeply: flatten it"
            )
        reply = send if kind is Kind.TOKENS else _marked(choice, scope, send)
        scope = _with_headers(scope, len(renamed), choice.target.engine_model)
        await self._app(scope, replay(renamed, receive), reply)
        return None


def _kind(scope: Scope) -> Kind | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    return ENDPOINTS.get(route_path(scope))


def _named_by_header(scope: Scope) -> str | None:
    """The model that a client of /invocations asks for by the standard's header, as the body's is read."""
    if route_path(scope) != INVOCATIONS:
        return None
    given = dict(scope["headers"]).get(ADAPTER_HEADER, b"").strip()
    return given.decode("utf-8", "replace") or None


def _marked(choice: Choice, scope: Scope, send: Send) -> Send:
    debug = any(name == DEBUG_HEADER and value.lower() == b"true" for name, value in scope["headers"])
    return MarkedReply(send, mark_headers(choice), mark_object(choice, debug=debug))


def _asked(scope: Scope, document: dict[str, Any]) -> Asked:
    conversation = request_conversation(document, scope["headers"])
    if route_path(scope) == RESPONSES:
        conversation = replace(
            conversation, reply=SessionKey.of("response", str(document["request_id"]).encode())
        )
    return Asked(conversation, session_key(scope["headers"], document, conversation.opening))


def _with_member(body: bytes, document: dict[str, Any], name: str, value: str) -> bytes:
    """`body`, which reads as `document`, with the member in it; empty if it can neither be spliced nor
    written.

    It goes behind everything else: of two members of one name a JSON reader takes the last, vLLM's as
    ours. Writing the whole document again would take most of this layer's time for a large body.
    """
    if json.detect_encoding(body) == "utf-8":
        return splice_member(body, name, json.dumps(value).encode("ascii")) or b""
    try:
        return json.dumps(document | {name: value}).encode("ascii")
    except RecursionError:
        return b""


def _parse(body: bytes) -> dict[str, Any] | None:
    """The request's JSON object, if it is one and its `model` is a name."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("model"), str | None):
        return None
    return document


class _BodyTooLargeError(Exception):
    pass


async def _read_body(receive: Receive, limit_bytes: int) -> bytes | None:
    """The whole body, or None when the client left before sending it. Raises `_BodyTooLargeError`."""
    chunks: list[bytes] = []
    size_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        size_bytes += len(chunks[-1])
        if size_bytes > limit_bytes:
            raise _BodyTooLargeError
        more = message.get("more_body", False)
    return b"".join(chunks)


def _with_headers(scope: Scope, length: int, model: str) -> Scope:
    """The request's headers for a body of another length that asks for `model`."""
    kept = _without(scope, b"content-length", b"transfer-encoding")
    added = [(b"content-length", b"%d" % length)]
    if route_path(scope) == INVOCATIONS:
        added.append((ADAPTER_HEADER, model.encode("ascii")))
    return {**kept, "headers": [*kept["headers"], *added]}


def _without(scope: Scope, *names: bytes) -> Scope:
    return {**scope, "headers": [header for header in scope["headers"] if header[0].lower() not in names]}
