"""`GET /crma/v1/decisions`: the last routing decisions, and those that follow as they happen.

Owns: their form on the wire, JSON or server-sent events. Who may ask is the guard's business.
"""

import json
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from crma_server.observability.decisions import DecisionRecord, Decisions

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
