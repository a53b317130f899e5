"""`GET /crma/v1/map`: the live router's examples as points of a plane, by domain, without their texts."""

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from crma_router.example_map import ExampleMap
from crma_router.router import Router
from crma_server.routing.selector import Live

LiveMap = Callable[[], tuple[int | None, ExampleMap | None]]
"""The live release's number and the map of its router, None where it has none."""


def map_router(live_map: LiveMap) -> APIRouter:
    """The route. Who may ask is the guard's business."""
    router = APIRouter()

    @router.get("/crma/v1/map")
    async def example_map() -> Response:
        """`points`: x, y and the domain's place in `domains`, the last of which is null, for none."""
        release, found = live_map()
        if found is None:
            return JSONResponse({"release": release, "domains": [], "points": []})
        domains: list[str | None] = [*sorted({one for one in found.labels if one is not None}), None]
        points = [
            [round(float(x), 3), round(float(y), 3), domains.index(label)]
            for (x, y), label in zip(found.points, found.labels, strict=True)
        ]
        return JSONResponse({"release": release, "domains": domains, "points": points})

    return router


def live_map(live: Live) -> tuple[int | None, ExampleMap | None]:
    """Of what answers now; a router that is not ours has none."""
    return live.release, live.router.example_map if isinstance(live.router, Router) else None
