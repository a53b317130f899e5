"""Every route of vLLM's application as this project builds it, and the key it needs.

A route that is not in the table fails the test: whoever adds one says here who may use it.
"""

import asyncio
import importlib
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import Mount, Route
from vllm.entrypoints.launchers.app import build_app

from crma_adapters.models.base_model import BaseModel
from crma_server.engine.vllm.serve import Needs, allow_plugin, parse_flags
from crma_server.http.access import Access, access_to
from crma_server.http.keys import KeySource
from crma_server.releases.snapshot import Demand
from crma_server.settings import Settings

from ..fake_engine import FakeSource

USER, BOSS = "user-key", "boss-key"

PUBLIC = {"GET /health", "GET /ready", "HEAD /ready", "GET /ping"}
DASHBOARD = {"GET /crma", "HEAD /crma", "GET /crma/static/{name}", "HEAD /crma/static/{name}"}
EITHER = {"GET /metrics"}
ADMIN = {
    "GET /crma/v1/status",
    "GET /crma/v1/release",
    "GET /crma/v1/releases",
    "GET /crma/v1/adapters",
    "GET /crma/v1/decisions",
    "GET /crma/v1/map",
    "POST /crma/v1/rollback",
    "POST /crma/v1/canary",
    "POST /crma/v1/promote",
    "POST /crma/v1/drop",
    "POST /crma/v1/reload",
    "POST /v1/load_lora_adapter",
    "POST /v1/unload_lora_adapter",
    "POST /is_scaling_elastic_ep",
}
INFERENCE = {
    "GET /openapi.json",
    "HEAD /openapi.json",
    "GET /docs",
    "HEAD /docs",
    "GET /docs/oauth2-redirect",
    "HEAD /docs/oauth2-redirect",
    "GET /redoc",
    "HEAD /redoc",
    "GET /load",
    "GET /version",
    "GET /kv_event_sources",
    "GET /v1/models",
    "GET /v1/models/{name:path}",
    "POST /ping",
    "POST /tokenize",
    "POST /detokenize",
    "POST /v1/systemone",
    "POST /invocations",
    "POST /v1/chat/completions",
    "POST /v1/chat/completions/batch",
    "POST /v1/chat/completions/render",
    "POST /v1/chat/completions/derender",
    "POST /v1/responses",
    "POST /v1/responses/render",
    "GET /v1/responses/{response_id}",
    "POST /v1/responses/{response_id}/cancel",
    "POST /v1/completions",
    "POST /v1/completions/render",
    "POST /v1/completions/derender",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "POST /v1/messages/render",
    "POST /generative_scoring",
    "POST /inference/v1/generate",
    "POST /inference/v1/abort_requests",
}
TABLE = {
    **dict.fromkeys(PUBLIC | DASHBOARD, Access.PUBLIC),
    **dict.fromkeys(EITHER, Access.EITHER),
    **dict.fromkeys(ADMIN, Access.ADMIN),
    **dict.fromkeys(INFERENCE, Access.INFERENCE),
}
# vLLM's routers that only a flag or its development mode attaches.
CONTROL = (
    "vllm.entrypoints.rl.online.api_router",
    "vllm.entrypoints.serve.dev.cache.api_router",
    "vllm.entrypoints.serve.dev.rpc.api_router",
    "vllm.entrypoints.serve.dev.server_info.api_router",
    "vllm.entrypoints.serve.dev.sleep.api_router",
    "vllm.entrypoints.serve.elastic_ep.api_router",
    "vllm.entrypoints.serve.fault_tolerance.api_router",
    "vllm.entrypoints.serve.profile.api_router",
)


@pytest.fixture(scope="module")
def app(base_model: BaseModel) -> Iterator[Any]:
    """vLLM's application for a text model, with everything of ours in it, and no engine behind it."""
    args = parse_flags([], Needs(base_model, adapters=1, demand=Demand(4)))
    args.crma = FakeSource().plan(None, ())
    args.crma_settings = Settings(
        inference_keys=KeySource((USER,)), admin_keys=KeySource((BOSS,)), max_body_bytes=100_000
    )
    args.api_key = ["nobody-has-this"]
    before = dict(os.environ)
    allow_plugin()
    built = build_app(args, ("generate",), None)
    yield built
    os.environ.clear()
    os.environ.update(before)


def routes(app: Any) -> set[str]:
    found = set()
    for route in app.routes:
        if isinstance(route, Route):
            found |= {f"{method} {route.path}" for method in route.methods or ()}
        else:
            assert isinstance(route, Mount)
            assert route.path == "/metrics", f"{route!r} is mounted: say here who may use it"
    return found


def ask(app: Any, method: str, path: str, key: str | None) -> int:
    """The status. What no engine can answer here is a 500, which is past the guard."""

    async def run() -> int:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            return (await client.request(method, path, headers=headers)).status_code

    return asyncio.run(run())


def test_every_route_is_in_the_table(app: Any) -> None:
    assert routes(app) - TABLE.keys() == set()
    assert TABLE.keys() - routes(app) == set()


@pytest.mark.parametrize("route", sorted(TABLE))
def test_each_route_opens_to_its_key_alone(app: Any, route: str) -> None:
    method, path = route.split(" ")
    for part, value in (("{response_id}", "resp_1"), ("{name:path}", "medical"), ("{name}", "app.js")):
        path = path.replace(part, value)
    opens = {
        key for key in (None, "wrong", "nobody-has-this", USER, BOSS) if ask(app, method, path, key) != 401
    }
    assert (
        opens
        == {
            Access.PUBLIC: {None, "wrong", "nobody-has-this", USER, BOSS},
            Access.EITHER: {USER, BOSS},
            Access.ADMIN: {BOSS},
            Access.INFERENCE: {USER},
        }[TABLE[route]]
    )


@pytest.mark.parametrize("name", CONTROL)
def test_what_vllm_adds_for_operators_needs_an_admin_key(name: str) -> None:
    found = importlib.import_module(name).router.routes
    assert found
    for route in found:
        for method in route.methods:
            assert access_to(method, route.path) is Access.ADMIN, route.path


def test_vllms_own_check_of_keys_is_replaced(app: Any) -> None:
    names = [layer.cls.__name__ for layer in app.user_middleware]
    assert "AuthenticationMiddleware" not in names
    assert names.index("CORSMiddleware") < names.index("AuthMiddleware") < names.index("RoutingMiddleware")


def test_a_server_whose_plugin_is_missing_is_closed(base_model: BaseModel) -> None:
    """`serve` leaves vLLM's own check with a key nobody has; only our plugin takes it away."""
    args = parse_flags([], Needs(base_model, adapters=1, demand=Demand(4)))
    args.api_key = ["nobody-has-this"]
    bare = build_app(args, ("generate",), None)
    assert ask(bare, "POST", "/v1/chat/completions", USER) == 401
