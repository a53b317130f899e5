"""The admin API under `/crma/v1` and vLLM's two routes for adapters, confined to the store. Who may ask is
asked here again, so that these routes are closed wherever `AuthMiddleware` is not."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from crma_adapters.errors import ConfigError, CrmaError, UnknownModelError
from crma_server.admin.service import HISTORY, Operations
from crma_server.http.access import Access
from crma_server.http.request import RequestContext
from crma_server.http.response import error_document
from crma_server.observability.decisions import DecisionRecord, Decisions

Name = Annotated[str, Field(min_length=1, max_length=200)]
_STATUS: tuple[tuple[type[CrmaError], int, str], ...] = (
    (UnknownModelError, 404, "NotFoundError"),
    (ConfigError, 400, "BadRequestError"),
    (CrmaError, 409, "ConflictError"),  # the store, or what is in it, does not allow it
)


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class RollbackBody(_Body):
    release: Annotated[int, Field(ge=1, le=10**9)] | None = None


class CanaryBody(_Body):
    name: Name
    version: Name
    weight: Annotated[float, Field(gt=0, lt=1)]
    drift: float | None = None


class DomainBody(_Body):
    name: Name


class LoadBody(BaseModel):
    """vLLM's `LoadLoRAAdapterRequest`, but for `lora_path`, which the name implies."""

    lora_name: Name
    lora_path: Annotated[str, Field(max_length=4096)] | None = None
    load_inplace: bool = False


class UnloadBody(BaseModel):
    """vLLM's `UnloadLoRAAdapterRequest`."""

    lora_name: Name
    lora_int_id: int | None = None


def admin_router(operations: Operations) -> APIRouter:
    """Every route of the admin API."""
    router = APIRouter(route_class=_Route, dependencies=[Depends(_require_admin)])
    _add_reading(router, operations)
    _add_changing(router, operations)
    _add_vllm_routes(router, operations)
    return router


def _add_reading(router: APIRouter, operations: Operations) -> None:
    @router.get("/crma/v1/status")
    async def status() -> dict[str, Any]:
        """What is live, kept, loading, draining, last refused; the last releases, latest first."""
        return await operations.status()

    @router.get("/crma/v1/release")
    async def release(number: Annotated[int | None, Query(ge=1, le=10**9)] = None) -> dict[str, Any]:
        """A release's document; without a number the live one."""
        return await operations.release(number)

    @router.get("/crma/v1/releases")
    async def releases(limit: Annotated[int, Query(ge=1, le=1000)] = HISTORY) -> dict[str, Any]:
        """Releases, latest first."""
        return {"releases": await operations.releases(limit)}

    @router.get("/crma/v1/adapters")
    async def adapters() -> dict[str, Any]:
        """Every adapter that answers, with its card."""
        return {"adapters": await operations.adapters()}


def _add_changing(router: APIRouter, operations: Operations) -> None:
    @router.post("/crma/v1/rollback")
    async def rollback(body: RollbackBody | None = None) -> dict[str, Any]:
        """Publish an older release again; without a number the one before the live one."""
        return await operations.rollback(body.release if body else None)

    @router.post("/crma/v1/canary")
    async def canary(body: CanaryBody) -> dict[str, Any]:
        """Try a version the store holds on a share of its domain's sessions."""
        return await operations.set_canary(body.name, body.version, body.weight, body.drift)

    @router.post("/crma/v1/promote")
    async def promote(body: DomainBody) -> dict[str, Any]:
        """Put a domain's canary in place of its live version."""
        return await operations.promote(body.name)

    @router.post("/crma/v1/drop")
    async def drop(body: DomainBody) -> dict[str, Any]:
        """End the trial of a domain's canary."""
        return await operations.drop_canary(body.name)

    @router.post("/crma/v1/reload")
    async def reload() -> dict[str, Any]:
        """Look at the store again, also at a release that was refused."""
        return await operations.reload()


def _add_vllm_routes(router: APIRouter, operations: Operations) -> None:
    @router.post("/v1/load_lora_adapter", response_class=PlainTextResponse)
    async def load_lora_adapter(body: LoadBody) -> str:
        """Have an adapter of a live or kept release, by exact name, in the engine's memory."""
        if body.load_inplace:
            raise ConfigError("load_inplace: an exact name never means other weights; leave it out")
        await operations.load_adapter(body.lora_name, body.lora_path)
        return f"Success: LoRA adapter '{body.lora_name}' added successfully."

    @router.post("/v1/unload_lora_adapter", response_class=PlainTextResponse)
    async def unload_lora_adapter(body: UnloadBody) -> str:
        """Free the engine's memory of an adapter that is not live."""
        await operations.unload_adapter(body.lora_name)
        return f"Success: LoRA adapter '{body.lora_name}' removed successfully."


def _require_admin(request: Request) -> None:
    principal = RequestContext.of(request.scope).principal
    if principal is None or principal.access is not Access.ADMIN:
        raise HTTPException(401, "this route needs an admin key")


class _Route(APIRoute):
    """A route that answers an error of ours with its message."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except CrmaError as error:
                status, kind = next(
                    (status, kind) for each, status, kind in _STATUS if isinstance(error, each)
                )
                return JSONResponse(error_document(status, kind, str(error)), status)

        return answer


HEARTBEAT_S = 15.0
_LOOK_S = 1.0  # how soon a stream ends once the server wants to


def decisions_router(decisions: Decisions, closing: Callable[[], bool] = lambda: False) -> APIRouter:
    """The route. A stream ends when `closing` says so, for it would keep a server from stopping."""
    router = APIRouter()

    @router.get("/crma/v1/decisions")
    async def list_decisions(request: Request, after: int = 0) -> Response:
        """With `Accept: text/event-stream` a stream of events, else what is kept. Either after an id."""
        if "text/event-stream" not in request.headers.get("accept", ""):
            return JSONResponse({"decisions": [each.to_dict() for each in decisions.after(after)]})
        last = request.headers.get("last-event-id", "")
        start = int(last) if last.isascii() and last.isdigit() else after
        return StreamingResponse(
            _events(decisions, start, closing),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    return router


async def _events(decisions: Decisions, last_id: int, closing: Callable[[], bool]) -> AsyncIterator[str]:
    quiet_s = 0.0
    yield ": decisions as they happen\n\n"  # so that a client knows at once that it listens
    while not closing():
        found = decisions.after(last_id)
        for decision in found:
            yield _event(decision)
            last_id = decision.id
        if found:
            quiet_s = 0.0
        elif quiet_s >= HEARTBEAT_S:
            yield ": still here\n\n"
            quiet_s = 0.0
        # Nothing was awaited between looking and waiting but the sending of what was found.
        if not decisions.after(last_id):
            await decisions.wait(_LOOK_S)
            quiet_s += _LOOK_S


def _event(decision: DecisionRecord) -> str:
    return f"id: {decision.id}\ndata: {json.dumps(decision.to_dict(), separators=(',', ':'))}\n\n"
