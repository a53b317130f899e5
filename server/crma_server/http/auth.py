"""The ASGI layer that asks every request for its key and says who came; outside of everything but CORS,
request ids and what `--middleware` adds."""

from collections.abc import Callable, Iterator

from starlette.types import ASGIApp, Receive, Scope, Send

from crma_server.http.access import Access, Principal, access_to, route_path
from crma_server.http.keys import ApiKeyStore
from crma_server.http.request import RequestContext
from crma_server.http.response import send_error

_BEARER = b"bearer "
_POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1


class AuthMiddleware:
    """Lets a request through to `app` if it comes with a key that opens its route."""

    def __init__(
        self, app: ASGIApp, inference: ApiKeyStore, admin: ApiKeyStore, refused: Callable[[str], None]
    ) -> None:
        """`refused` is told the kind of each refusal: `key` or `admin key`."""
        self._app = app
        self._inference = inference
        self._admin = admin
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        access = access_to(scope.get("method", "GET"), route_path(scope))
        if scope["type"] == "websocket" and access is Access.PUBLIC:
            access = Access.INFERENCE  # only pages and probes are public
        principal = self._principal(access, list(_keys(scope)))
        if principal is None:
            return await self._refuse(access, scope, receive, send)
        RequestContext.of(scope).principal = principal
        return await self._app(scope, receive, send)

    def _principal(self, access: Access, keys: list[bytes]) -> Principal | None:
        if access is Access.PUBLIC:
            return Principal(access, "")
        if access in (Access.ADMIN, Access.EITHER) and (key := _first(self._admin, keys)):
            return Principal(Access.ADMIN, key)
        if access in (Access.INFERENCE, Access.EITHER):
            if key := _first(self._inference, keys):
                return Principal(Access.INFERENCE, key)
            if not self._inference.required:
                return Principal(Access.INFERENCE, "")
        return None

    async def _refuse(self, access: Access, scope: Scope, receive: Receive, send: Send) -> None:
        kind = "admin key" if access is Access.ADMIN else "key"
        self._refused(kind)
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": f"needs the {kind}"})
            return
        needs = "is not open to inference: it needs an" if access is Access.ADMIN else "needs a valid"
        route = f"{scope.get('method', '')} {route_path(scope)}"
        message = f"{route} {needs} {kind}: send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
        challenge = [(b"www-authenticate", b"Bearer")]
        await send_error(scope, send, 401, "AuthenticationError", message, headers=challenge)


def _keys(scope: Scope) -> Iterator[bytes]:
    """Every key a request brings: clients of several APIs send it under several names."""
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            yield value.strip()
        elif name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            yield value[len(_BEARER) :].strip()


def _first(store: ApiKeyStore, keys: list[bytes]) -> str | None:
    return next((found for key in keys if (found := store.find(key))), None)
