"""Putting what watches requests, and the page that shows it, around and into vLLM's application.

Owns: their places in it. Knows nothing of vLLM: any Starlette or FastAPI application will do.
"""

from collections.abc import Callable

from fastapi import FastAPI
from starlette.middleware import Middleware

from crma_server.admin.decisions_api import decisions_router
from crma_server.dashboard.routes import dashboard_router
from crma_server.observability.decisions import Decisions
from crma_server.observability.logging import RequestLog
from crma_server.observability.request_watch import RequestWatch
from crma_server.observability.tracing import Tracing
from crma_server.settings import Settings


def add_dashboard(app: FastAPI, decisions: Decisions, closing: Callable[[], bool]) -> None:
    """Add the dashboard and its stream of decisions, which ends when `closing` says so."""
    app.include_router(dashboard_router())
    app.include_router(decisions_router(decisions, closing))


def watch_app(app: FastAPI, settings: Settings, decisions: Decisions, *, traced: bool) -> None:
    """Have every request of `app` watched, those included that another layer turns away.

    To be called when every other layer has been added and none has been asked, and, if `traced`, when the
    process has its tracer provider.

    Raises:
        ConfigError: the request log cannot be written.
    """
    where = settings.request_log
    layer = Middleware(
        RequestWatch,
        log=RequestLog(where, prompts=settings.log_prompts) if where else None,
        tracing=Tracing() if traced else None,
        listeners=(decisions.add,),
    )
    app.user_middleware.insert(0, layer)
    # vLLM's SageMaker bootstrap built the stack without this layer; the first request builds it again.
    app.middleware_stack = None
