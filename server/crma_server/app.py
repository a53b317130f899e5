"""Putting the layers around vLLM's application and our own routes into it, and what is said once it answers;
any Starlette or FastAPI application will do."""

import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from crma_server.admin.api import decisions_router
from crma_server.admin.map_api import LiveMap, map_router
from crma_server.dashboard import dashboard_router
from crma_server.http.auth import AuthMiddleware
from crma_server.http.body import BodyMiddleware
from crma_server.http.keys import ApiKeyStore
from crma_server.http.limits import DeadlineMiddleware, Drain, LimitsMiddleware, RequestRate
from crma_server.http.routing import RoutingMiddleware
from crma_server.observability.decisions import Decisions
from crma_server.observability.logging import RequestLog
from crma_server.observability.middleware import ObservabilityMiddleware, Tracing
from crma_server.routing.catalog import AUTO
from crma_server.routing.selector import Live, Selector
from crma_server.settings import Settings

EXAMPLES = (
    "What are the symptoms of iron deficiency anemia?",
    "What makes a contract legally binding?",
    "What is the difference between a stock and a bond?",
    "How do I reverse a linked list in Python?",
    "Why is the sky blue?",
)


def add_layers(
    app: FastAPI,
    settings: Settings,
    selector: Selector,
    drain: Drain,
    refused: Callable[[str], None],
    not_ready: Callable[[], str | None],
) -> None:
    """Add every layer to `app`, before it is built, and `GET /ready`: keys, limits, deadline, body, and
    innermost the routing, behind what vLLM has added by then.

    `refused` is told the name of the limit a request ran into, `not_ready` says why no request should come
    yet (None: they may).

    Raises:
        ConfigError: a key file cannot be used.
    """
    rate = RequestRate(settings.key_rate)
    layers = [
        Middleware(
            AuthMiddleware,
            inference=ApiKeyStore(settings.inference_keys),
            admin=ApiKeyStore(settings.admin_keys),
            refused=refused,
        ),
        Middleware(
            LimitsMiddleware,
            drain=drain,
            rate=rate,
            refused=refused,
            max_in_flight=settings.max_in_flight,
            key_concurrency=settings.key_concurrency,
        ),
        Middleware(DeadlineMiddleware, limit_s=settings.deadline_s, refused=refused),
        Middleware(BodyMiddleware, max_bytes=settings.max_body_bytes),
    ]
    # Outermost of what is there; what vLLM adds later (CORS, request ids) comes to stand outside of it.
    app.user_middleware[:0] = layers
    app.user_middleware.append(Middleware(RoutingMiddleware, selector=selector))
    ready = _ready_route(drain, not_ready)
    app.add_api_route("/ready", ready, methods=["GET"])
    app.add_api_route("/ready", ready, methods=["HEAD"], include_in_schema=False)


def _ready_route(drain: Drain, not_ready: Callable[[], str | None]) -> Callable[[], Any]:
    async def ready() -> JSONResponse:
        """Whether this server takes requests: 200, or 503 with the reason."""
        reason = "stopping" if drain.stopping else not_ready()
        return JSONResponse({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)

    return ready


def add_dashboard(app: FastAPI, decisions: Decisions, closing: Callable[[], bool], live_map: LiveMap) -> None:
    """Add the dashboard, its map, and its stream of decisions, which ends when `closing` says so."""
    app.include_router(dashboard_router())
    app.include_router(decisions_router(decisions, closing))
    app.include_router(map_router(live_map))


def watch_app(app: FastAPI, settings: Settings, decisions: Decisions, *, traced: bool) -> None:
    """Have every request of `app` watched, those included that another layer turns away.

    To be called when every other layer has been added and none has been asked, and, if `traced`, when the
    process has its tracer provider.

    Raises:
        ConfigError: the request log cannot be written.
    """
    where = settings.request_log
    layer = Middleware(
        ObservabilityMiddleware,
        log=RequestLog(where, prompts=settings.log_prompts) if where else None,
        tracing=Tracing() if traced else None,
        listeners=(decisions.add,),
    )
    app.user_middleware.insert(0, layer)
    # vLLM's SageMaker bootstrap built the stack without this layer; the first request builds it again.
    app.middleware_stack = None


def ready_message(address: str, live: Live, *, needs_key: bool = False, admin_key: str = "") -> str:
    """Several lines for the terminal; `address` is like `http://127.0.0.1:8000`.

    admin_key: stands in the link to the dashboard, behind the `#` that browsers send to nobody.
    """
    dashboard = f"{address}/crma" + (f"#key={admin_key}" if admin_key else "")
    question, adapter = example(live)
    body = json.dumps({"model": AUTO, "messages": [{"role": "user", "content": question}], "max_tokens": 64})
    key = '  -H "Authorization: Bearer $YOUR_KEY" \\\n' if needs_key else ""
    return (
        f"crma ready on {address}\n\n"
        f"Dashboard: {dashboard}\n\n"
        f"Try it (expect x-crma-adapter: {adapter}):\n\n"
        f"curl -si {address}/v1/chat/completions -H 'Content-Type: application/json' \\\n{key}"
        f"  -d '{body}'\n"
    )


def example(live: Live) -> tuple[str, str]:
    """A question this release routes to one of its adapters, and that adapter; else one for the fallback."""
    for question in EXAMPLES if live.router else ():
        domain = live.router.route(question).domain if live.router else None
        if domain and (entry := live.catalog.entry(domain)):
            return question, entry.with_crma.adapter
    return EXAMPLES[-1], live.catalog.fallback.with_crma.adapter
