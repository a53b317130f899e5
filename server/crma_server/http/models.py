"""`GET /v1/models` and `/v1/models/{name}`: the names to use, in OpenAI's form as vLLM writes it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from crma_adapters.errors import UnknownModelError
from crma_adapters.store.release import Release
from crma_server.http.response import error_document
from crma_server.routing.catalog import Catalog, Listing


@dataclass(frozen=True)
class Served:
    """What the list is made of: the live names, their release, and the longest text in tokens."""

    catalog: Catalog
    release: Release | None
    max_model_len: int


def models_router(served: Callable[[], Served]) -> APIRouter:
    """The routes; `served` says what is live now."""
    router = APIRouter()

    @router.get("/v1/models")
    async def list_models(names: Annotated[Literal["aliases", "all"], Query()] = "aliases") -> dict[str, Any]:
        """What can be asked for: the names people choose from; with `names=all` every name."""
        now = served()
        listings = now.catalog.listings(everything=names == "all")
        return {"object": "list", "data": [_card(listing, now) for listing in listings]}

    @router.get("/v1/models/{name:path}", response_model=None)
    async def model(name: str) -> dict[str, Any] | JSONResponse:
        """One name, any that answers."""
        now = served()
        try:
            return _card(now.catalog.listing(name), now)
        except UnknownModelError as error:
            return JSONResponse(error_document(404, "NotFoundError", str(error), "model"), 404)

    return router


def _card(listing: Listing, served: Served) -> dict[str, Any]:
    created = int(datetime.fromisoformat(served.release.created).timestamp()) if served.release else 0
    return {
        "id": listing.name,
        "object": "model",
        "created": created,
        "owned_by": "crma",
        "root": listing.root,
        "parent": listing.parent,
        "max_model_len": served.max_model_len,
        "permission": [_permission(listing.name, created)],
    }


def _permission(name: str, created: int) -> dict[str, Any]:
    """What vLLM says of each of its models (`ModelPermission` with its defaults)."""
    return {
        "id": f"modelperm-{name}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
