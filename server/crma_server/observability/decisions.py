"""The last routing decisions, for people who watch them.

Owns: how many are kept, what of them is shown and waiting for new ones. A decision is kept without the text
it was made on. Used from one event loop.
"""

import asyncio
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from crma_server.observability.observation import Routed

KEPT = 200


@dataclass(frozen=True)
class Scored:
    """What the router said of the text; the fields are those of `RoutingDecision`."""

    domain: str | None
    confidence: float
    cause: str
    scores: dict[str, float]
    ood_distance: float
    ood_threshold: float


@dataclass(frozen=True)
class Decision:
    """One request's choice. `id` counts from 1 since the start; `at` is ISO 8601 in UTC, `seconds` what it
    took. `router` is None when the client named what should answer, or the release has no router.
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
    router: Scored | None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


class Decisions:
    """A ring of the last decisions. Who waits for new ones too slowly misses some; nobody waits for them."""

    def __init__(self, kept: int = KEPT) -> None:
        self._ring: deque[Decision] = deque(maxlen=kept)
        self._count = 0
        self._news = asyncio.Event()

    def add(self, routed: Routed) -> None:
        self._count += 1
        self._ring.append(_decision(self._count, routed))
        self._news.set()
        self._news = asyncio.Event()  # those who waited have been told; the next wait for the next

    def after(self, last_id: int) -> list[Decision]:
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


def _decision(number: int, routed: Routed) -> Decision:
    choice = routed.choice
    at = datetime.fromtimestamp(routed.ended_ns / 1e9, UTC)
    return Decision(
        id=number,
        at=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        seconds=round(routed.seconds, 6),
        request_id=routed.request_id,
        endpoint=routed.endpoint,
        asked=routed.asked,
        adapter=choice.target.adapter,
        version=choice.target.version,
        canary=choice.canary,
        backbone=choice.target.backbone,
        release=choice.release,
        path=choice.path,
        reason=choice.reason,
        session=choice.memory.key if choice.memory else None,
        router=_scored(routed),
    )


def _scored(routed: Routed) -> Scored | None:
    decision = routed.choice.decision
    if decision is None:
        return None
    return Scored(
        domain=decision.domain,
        confidence=round(decision.confidence, 4),
        cause=decision.cause,
        scores={name: round(score, 4) for name, score in decision.scores.items()},
        ood_distance=round(decision.ood_distance, 4),
        ood_threshold=round(decision.ood_threshold, 4),
    )
