"""The guard over a small application, asked over HTTP and WebSocket."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from crma_server.http.access import Access, Principal
from crma_server.http.auth import AuthMiddleware
from crma_server.http.keys import ApiKeyStore, KeySource
from crma_server.http.request import RequestContext

USER, OTHER, BOSS = "user-key", "other-key", "boss-key"
Ask = Callable[..., httpx.Response]


class Reached:
    """Answers everything, and remembers as whom it was asked."""

    def __init__(self) -> None:
        self.principals: list[Principal | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self.principals.append(RequestContext.of(scope).principal)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"reached"})


@pytest.fixture
def reached() -> Reached:
    return Reached()


@pytest.fixture
def refused() -> list[str]:
    return []


@pytest.fixture
def guard(reached: Reached, refused: list[str]) -> AuthMiddleware:
    inference, admin = ApiKeyStore(KeySource((USER, OTHER))), ApiKeyStore(KeySource((BOSS,)))
    return AuthMiddleware(reached, inference, admin, refused.append)


def ask(guard: AuthMiddleware, method: str, path: str, **headers: str) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://x") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=named)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {USER}"},
        {"authorization": f"bearer  {OTHER}"},
        {"x_api_key": USER},
        {"authorization": "Bearer none", "x_api_key": USER},
    ],
)
def test_a_key_opens_the_api(guard: AuthMiddleware, reached: Reached, headers: dict[str, str]) -> None:
    assert ask(guard, "POST", "/v1/chat/completions", **headers).content == b"reached"
    (principal,) = reached.principals
    assert principal is not None
    assert (principal.access, len(principal.key)) == (Access.INFERENCE, 8)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": USER},
        {"authorization": f"Basic {USER}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {USER}x"},
        {"authorization": f"Bearer {USER[:-1]}"},
        {"x_api_key": ""},
        {"x_api_key": f"{USER},{OTHER}"},
        {"authorization": f"Bearer {BOSS}"},
        {"cookie": USER},
    ],
)
def test_nothing_else_does(
    guard: AuthMiddleware, reached: Reached, refused: list[str], headers: dict[str, str]
) -> None:
    reply = ask(guard, "POST", "/v1/chat/completions", **headers)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("AuthenticationError", 401)
    assert "x-api-key: KEY" in error["message"]
    assert USER not in reply.text
    assert reached.principals == []
    assert refused == ["key"]


def test_only_an_admin_key_opens_the_admin_api(
    guard: AuthMiddleware, reached: Reached, refused: list[str]
) -> None:
    assert ask(guard, "GET", "/crma/v1/status", x_api_key=USER).status_code == 401
    assert ask(guard, "GET", "/crma/v1/status").status_code == 401
    assert refused == ["admin key", "admin key"]
    assert reached.principals == []
    assert ask(guard, "GET", "/crma/v1/status", x_api_key=BOSS).status_code == 200
    (principal,) = reached.principals
    assert principal is not None and principal.access is Access.ADMIN


@pytest.mark.parametrize("key", [USER, BOSS])
def test_metrics_take_either(guard: AuthMiddleware, key: str) -> None:
    assert ask(guard, "GET", "/metrics", x_api_key=key).status_code == 200
    assert ask(guard, "GET", "/metrics", x_api_key="none").status_code == 401


def test_probes_need_none_and_are_nobodys(guard: AuthMiddleware, reached: Reached) -> None:
    assert ask(guard, "GET", "/health").status_code == 200
    assert reached.principals == [Principal(Access.PUBLIC, "")]


def test_without_inference_keys_the_api_is_open_and_the_admin_api_is_not(reached: Reached) -> None:
    open_guard = AuthMiddleware(
        reached, ApiKeyStore(KeySource()), ApiKeyStore(KeySource((BOSS,))), lambda _: None
    )
    assert ask(open_guard, "POST", "/v1/completions").status_code == 200
    assert ask(open_guard, "GET", "/metrics").status_code == 200
    assert reached.principals == [Principal(Access.INFERENCE, "")] * 2
    assert ask(open_guard, "POST", "/crma/v1/rollback").status_code == 401
    assert ask(open_guard, "POST", "/v1/load_lora_adapter").status_code == 401


def test_without_any_admin_key_nothing_opens_the_admin_api(reached: Reached) -> None:
    nobody = AuthMiddleware(reached, ApiKeyStore(KeySource()), ApiKeyStore(KeySource()), lambda _: None)
    assert ask(nobody, "GET", "/crma/v1/status").status_code == 401
    assert ask(nobody, "GET", "/crma/v1/status", x_api_key="").status_code == 401


def test_a_preflight_that_gets_here_needs_a_key_too(guard: AuthMiddleware) -> None:
    assert ask(guard, "OPTIONS", "/v1/models").status_code == 401


def test_a_root_path_opens_nothing(guard: AuthMiddleware, reached: Reached) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/p/crma/v1/status", "root_path": "/p", "headers": []}
    asyncio.run(guard(scope, receive, send))
    assert sent[0]["status"] == 401
    assert reached.principals == []


@pytest.mark.parametrize("path", ["/v1/realtime", "/health"])
def test_a_websocket_without_a_key_is_closed_before_it_opens(
    guard: AuthMiddleware, reached: Reached, path: str
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "websocket", "path": path, "headers": []}
    asyncio.run(guard(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert reached.principals == []


def test_start_and_end_of_the_application_pass() -> None:
    passed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        passed.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return None

    guard = AuthMiddleware(app, ApiKeyStore(KeySource((USER,))), ApiKeyStore(KeySource()), lambda _: None)
    asyncio.run(guard({"type": "lifespan"}, nothing, nothing))
    assert passed == ["lifespan"]
