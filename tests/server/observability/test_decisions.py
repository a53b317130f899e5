import asyncio
from collections.abc import Callable

from crma_server.http.request import RequestContext
from crma_server.observability.decisions import Decisions

SECRET = "my left knee"  # what the user of `routed` writes
Make = Callable[..., RequestContext]


def test_a_decision_is_kept_with_its_scores_and_without_the_text(routed: Make) -> None:
    decisions = Decisions()
    decisions.add(routed())
    (kept,) = decisions.after(0)
    assert kept.to_dict() == {
        "id": 1,
        "at": "2026-01-01T00:00:00.004Z",
        "seconds": 0.004,
        "request_id": "r-1",
        "endpoint": "/v1/chat/completions",
        "asked": "auto",
        "adapter": "medical",
        "version": "de91ac039f2f",
        "canary": False,
        "backbone": "a0afad0b46d1",
        "release": 7,
        "path": "routed",
        "reason": "medical leads",
        "session": "session",
        "router": {
            "domain": "medical",
            "confidence": 0.9877,
            "cause": "sure",
            "scores": {"medical": 0.9877, "legal": 0.01},
            "ood_distance": 0.51,
            "ood_threshold": 1.0,
            "place": None,
        },
    }
    assert SECRET not in repr(kept)
    assert SECRET not in repr(routed())


def test_a_canary_is_named_as_one(routed: Make) -> None:
    decisions = Decisions()
    decisions.add(routed(canary=True))
    assert decisions.after(0)[0].canary


def test_an_explicit_choice_has_no_scores(routed: Make) -> None:
    decisions = Decisions()
    decisions.add(routed(path="explicit", decision=None, session=None))
    (kept,) = decisions.after(0)
    assert kept.router is None
    assert kept.session is None


def test_only_the_last_are_kept_and_their_ids_go_on(routed: Make) -> None:
    decisions = Decisions(kept=3)
    for number in range(5):
        decisions.add(routed(f"r-{number}"))
    assert [(each.id, each.request_id) for each in decisions.after(0)] == [(3, "r-2"), (4, "r-3"), (5, "r-4")]
    assert [each.id for each in decisions.after(4)] == [5]
    assert decisions.after(5) == []


def test_an_id_of_a_server_before_gets_everything(routed: Make) -> None:
    decisions = Decisions()
    decisions.add(routed())
    assert [each.id for each in decisions.after(999)] == [1]


def test_all_who_wait_are_woken_by_a_decision(routed: Make) -> None:
    async def run() -> list[list[int]]:
        decisions = Decisions()

        async def follow() -> list[int]:
            await decisions.wait(5)
            return [each.id for each in decisions.after(0)]

        waiting = [asyncio.create_task(follow()) for _ in range(3)]
        await asyncio.sleep(0)
        decisions.add(routed())
        return await asyncio.gather(*waiting)

    assert asyncio.run(asyncio.wait_for(run(), 2)) == [[1]] * 3


def test_waiting_ends_when_nothing_happens() -> None:
    asyncio.run(asyncio.wait_for(Decisions().wait(0.01), 2))
