"""The ASGI layer around vLLM's application that has a request answered by what its `model` means, and its
reply say so; what names no model passes untouched, and any ASGI application can stand behind."""

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
from crma_server.http.body import replay
from crma_server.http.request import RequestContext, request_conversation, session_key
from crma_server.http.response import (
    DEBUG_HEADER,
    AnthropicErrors,
    MarkedResponse,
    is_anthropic,
    mark_headers,
    mark_object,
    send_error,
    splice_member,
)
from crma_server.routing.catalog import AUTO, BACKBONE, BASE
from crma_server.routing.selector import Choice, InFlightRef, Selector


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
COMPLETIONS = "/v1/completions"
COMPLETIONS_NOTE = (
    "the prompt was given to the adapter as it is, without the chat template it was trained with: if the "
    "text is empty or odd, use /v1/chat/completions"
)
# vLLM's /invocations puts this header's value, or null, in the place of the body's `model`, behind the
# routing here (model_hosting_container_standards.sagemaker.inject_adapter_id). So it carries what was chosen.
INVOCATIONS = "/invocations"
ADAPTER_HEADER = b"x-amzn-sagemaker-adapter-identifier"
# What opens and closes one of that standard's sessions is no question, and may hold no other member.
_SESSION_REQUEST = "requestType"


class RoutingMiddleware:
    """Chooses what answers each request by its `model`. `BodyMiddleware` stands before it, and has read the
    body."""

    def __init__(self, app: ASGIApp, selector: Selector) -> None:
        self._app = app
        self._selector = selector

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = _kind(scope)
        if kind is None:
            return await self._app(scope, receive, send)
        named = _named_by_header(scope)
        scope = _without(scope, ADAPTER_HEADER)
        if is_anthropic(scope):
            send = AnthropicErrors(send)
        document = RequestContext.of(scope).document
        if document is None or not _is_question(document):
            # vLLM answers it, or says what is wrong with it.
            return await self._app(scope, receive, send)
        name = named or document.get("model") or AUTO
        with self._selector.in_flight.ref() as ref:  # what answers stays until the reply has ended
            await self._answer(kind, name, ref, scope, receive, send)
        return None

    async def _answer(
        self, kind: Kind, name: str, ref: InFlightRef, scope: Scope, receive: Receive, send: Send
    ) -> None:
        context = RequestContext.of(scope)
        if kind is Kind.TOKENS and name in self._selector.live.catalog.routing_names:
            name = BASE
        added = _reply_id(kind, context, scope)
        started_ns = time.time_ns()
        try:
            asked = (lambda: _asked(scope, context, added)) if kind is Kind.ROUTED else None
            choice = await self._selector.choose(name, asked, ref)
        except UnknownModelError as error:
            return await send_error(scope, send, 404, "NotFoundError", str(error), param="model")
        except RouterBusyError as error:
            return await send_error(scope, send, 503, "ServiceUnavailableError", str(error))
        except RouterError as error:
            return await send_error(scope, send, 400, "BadRequestError", str(error))
        if kind is not Kind.TOKENS:
            context.choose(name, choice, started_ns)
            send = _marked(choice, scope, send)
        await receive()  # the body as it came, which this one takes the place of
        body = _with_members(context, added | {"model": choice.target.engine_model})
        scope = _with_headers(scope, len(body), choice.target.engine_model)
        return await self._app(scope, replay(body, receive), send)


def _kind(scope: Scope) -> Kind | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    return ENDPOINTS.get(route_path(scope))


def _is_question(document: dict[str, Any]) -> bool:
    return isinstance(document.get("model"), str | None) and _SESSION_REQUEST not in document


def _named_by_header(scope: Scope) -> str | None:
    """The model that a client of /invocations asks for by the standard's header, as the body's is read."""
    if route_path(scope) != INVOCATIONS:
        return None
    given = dict(scope["headers"]).get(ADAPTER_HEADER, b"").strip()
    return given.decode("utf-8", "replace") or None


def _reply_id(kind: Kind, context: RequestContext, scope: Scope) -> dict[str, str]:
    """The id of a response, known beforehand so that it may be gone on from, unless the client gave one."""
    given = (context.document or {}).get("request_id")
    if kind is not Kind.ROUTED or route_path(scope) != RESPONSES or isinstance(given, str):
        return {}
    return {"request_id": f"resp_{uuid.uuid4().hex}"}


def _asked(scope: Scope, context: RequestContext, added: dict[str, str]) -> Asked:
    document = (context.document or {}) | added
    conversation = request_conversation(document, scope["headers"])
    if route_path(scope) == RESPONSES:
        reply = SessionKey.of("response", str(document["request_id"]).encode())
        conversation = replace(conversation, reply=reply)
    return Asked(conversation, session_key(scope["headers"], document, conversation.opening))


def _marked(choice: Choice, scope: Scope, send: Send) -> Send:
    debug = any(name == DEBUG_HEADER and value.lower() == b"true" for name, value in scope["headers"])
    as_it_is = route_path(scope) == COMPLETIONS and choice.target.adapter not in (BASE, BACKBONE)
    return MarkedResponse(
        send,
        mark_headers(choice),
        mark_object(choice, debug=debug, note=COMPLETIONS_NOTE if as_it_is else ""),
    )


def _with_members(context: RequestContext, members: dict[str, str]) -> bytes:
    """The request's body with `members` in it.

    They go behind everything else: of two members of one name a JSON reader takes the last, vLLM's as ours.
    Writing the whole document again would take most of this layer's time for a large body.
    """
    if json.detect_encoding(context.body) != "utf-8":
        return json.dumps((context.document or {}) | members).encode("ascii")
    body = context.body
    for name, value in members.items():
        body = splice_member(body, name, json.dumps(value).encode("ascii")) or body
    return body


def _with_headers(scope: Scope, length: int, model: str) -> Scope:
    """The request's headers for a body of another length that asks for `model`."""
    kept = _without(scope, b"content-length", b"transfer-encoding")
    added = [(b"content-length", b"%d" % length)]
    if route_path(scope) == INVOCATIONS:
        added.append((ADAPTER_HEADER, model.encode("ascii")))
    return {**kept, "headers": [*kept["headers"], *added]}


def _without(scope: Scope, *names: bytes) -> Scope:
    return {**scope, "headers": [header for header in scope["headers"] if header[0].lower() not in names]}
