"""Putting the guard and the limits around vLLM's application.

Owns: their order, and `GET /ready`. Knows nothing of vLLM: any Starlette or FastAPI application will do.
"""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from crma_server.http.body_limit import BodyLimit
from crma_server.http.deadline import Deadline
from crma_server.http.drain import Drain
from crma_server.http.guard import Guard
from crma_server.http.key_ring import KeyRing
from crma_server.http.limits import Limits
from crma_server.http.request_rate import RequestRate
from crma_server.settings import Settings


def guard_app(
    app: FastAPI,
    settings: Settings,
    drain: Drain,
    refused: Callable[[str], None],
    not_ready: Callable[[], str | None],
) -> None:
    """Add every layer to `app`, before it is built, and `GET /ready`.

    `refused` is told the name of the limit a request ran into, `not_ready` says why no request should come
    yet (None: they may).

    Raises:
        ConfigError: a key file cannot be used.
    """
    rate = RequestRate(settings.key_rate)
    layers = [
        Middleware(
            Guard,
            inference=KeyRing(settings.inference_keys),
            admin=KeyRing(settings.admin_keys),
            refused=refused,
        ),
        Middleware(
            Limits,
            drain=drain,
            rate=rate,
            refused=refused,
            max_in_flight=settings.max_in_flight,
            key_concurrency=settings.key_concurrency,
        ),
        Middleware(Deadline, limit_s=settings.deadline_s, refused=refused),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes),
    ]
    # Outermost of what is there; what vLLM adds later (CORS, request ids) comes to stand outside of it.
    app.user_middleware[:0] = layers
    ready = _ready_route(drain, not_ready)
    app.add_api_route("/ready", ready, methods=["GET"])
    app.add_api_route("/ready", ready, methods=["HEAD"], include_in_schema=False)


def _ready_route(drain: Drain, not_ready: Callable[[], str | None]) -> Callable[[], Any]:
    async def ready() -> JSONResponse:
        """Whether this server takes requests: 200, or 503 with the reason."""
        reason = "stopping" if drain.stopping else not_ready()
        return JSONResponse({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)

    return ready
