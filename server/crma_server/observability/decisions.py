"""The last routing decisions, without the text they were made on, for people who watch them."""

import asyncio
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from crma_server.http.request import RequestContext

KEPT = 200


@dataclass(frozen=True)
class DecisionRecord:
    """One request's choice as the admin API tells of it. `id` counts from 1 since the start; `at` is ISO 8601
    in UTC, `seconds` what it took.

    `router` is what the router said of the text, as `RoutingDecision`; None when the client named what should
    answer, or the release has no router.
    """

    id: int
    at: str
    seconds: float
    request_id: str
    endpoint: str
    asked: str
    adapter: str
    version: str | None
    canary: bool
    backbone: str | None
    release: int | None
    path: str
    reason: str
    session: str | None
    router: dict[str, Any] | None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


class Decisions:
    """A ring of the last decisions. Who waits for new ones too slowly misses some; nobody waits for them.

    Used from one event loop.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._ring: deque[DecisionRecord] = deque(maxlen=kept)
        self._count = 0
        self._news = asyncio.Event()

    def add(self, context: RequestContext) -> None:
        """Keep the choice of a request that has one."""
        self._count += 1
        self._ring.append(_record(self._count, context))
        self._news.set()
        self._news = asyncio.Event()  # those who waited have been told; the next wait for the next

    def after(self, last_id: int) -> list[DecisionRecord]:
        """The kept decisions with a larger id, oldest first; all of them for an id that never was."""
        if last_id > self._count:  # of a server before this one
            last_id = 0
        return [decision for decision in self._ring if decision.id > last_id]

    async def wait(self, timeout_s: float) -> None:
        """Return at the next decision, or after `timeout_s`."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return


def _record(number: int, context: RequestContext) -> DecisionRecord:
    choice = context.choice
    assert choice is not None
    decision = choice.decision
    scored: dict[str, Any] | None = (
        None
        if decision is None
        else {
            "domain": decision.domain,
            "confidence": round(decision.confidence, 4),
            "cause": decision.cause,
            "scores": {name: round(score, 4) for name, score in decision.scores.items()},
            "ood_distance": round(decision.ood_distance, 4),
            "ood_threshold": round(decision.ood_threshold, 4),
            "place": decision.place and [round(at, 4) for at in decision.place],
        }
    )
    at = datetime.fromtimestamp(context.routing_ns[1] / 1e9, UTC)
    return DecisionRecord(
        id=number,
        at=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        seconds=round(context.routing_s, 6),
        request_id=context.request_id,
        endpoint=context.path,
        asked=context.asked,
        adapter=choice.target.adapter,
        version=choice.target.version,
        canary=choice.canary,
        backbone=choice.target.backbone,
        release=choice.release,
        path=choice.path,
        reason=choice.reason,
        session=choice.session,
        router=scored,
    )
