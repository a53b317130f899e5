"""Whose answer is whose, whatever happens to the others."""

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crma_router.batching import RouterBusyError, RouterQueue
from crma_router.policy import RoutingDecision


class EchoRouter:
    """Decides for the domain its name and the text make; raises about texts that hold "bad"."""

    def __init__(self, name: str = "one", delay_s: float = 0.0, known: frozenset[str] = frozenset()) -> None:
        self.name = name
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self._delay_s = delay_s
        self._known = known

    def decision(self, text: str) -> RoutingDecision:
        return RoutingDecision(f"{self.name}:{text}", 1.0, "routed", "", {}, 0.0, 1.0)

    def route_known(self, text: str) -> RoutingDecision | None:
        return self.decision(text) if text in self._known else None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        self.gate.wait(10)
        self.batches.append(texts)
        self.threads.add(threading.get_ident())
        time.sleep(self._delay_s)
        if bad := [text for text in texts if "bad" in text]:
            raise ValueError(bad[0])
        return [self.decision(text) for text in texts]


def run(body: Callable[[RouterQueue], Awaitable[None]], **options: int) -> None:
    """`body` on a fresh queue and loop, in 20 s at most: a forgotten caller fails rather than hangs."""

    async def bounded() -> None:
        queue = RouterQueue(**options)
        try:
            await asyncio.wait_for(body(queue), 20)
        finally:
            queue.close()

    asyncio.run(bounded())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "bad", "bad too", "d", "e"]), min_size=1, max_size=40)


@given(TEXTS, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_every_caller_gets_the_answer_to_its_own_text(texts: list[str], seed: int) -> None:
    """Random arrival, two routers in turn, some callers leave at a random moment, some texts raise."""
    chance = random.Random(seed)
    routers = [EchoRouter("one", 0.0005), EchoRouter("two", known=frozenset("e"))]

    async def ask(queue: RouterQueue, text: str) -> None:
        await asyncio.sleep(chance.choice([0, 0, 0.0004, 0.002]))
        router = chance.choice(routers)
        asked = asyncio.create_task(queue.decide(router, text))
        if chance.random() < 0.3:
            await asyncio.sleep(chance.choice([0, 0.0005, 0.002]))
            asked.cancel()
        try:
            assert (await asked).domain == f"{router.name}:{text}"
            assert "bad" not in text
        except ValueError as error:
            assert str(error) == text
        except asyncio.CancelledError:
            assert asked.cancelled()

    async def body(queue: RouterQueue) -> None:
        await asyncio.gather(*(ask(queue, text) for text in texts))

    run(body, most_together=chance.choice([1, 3, 16]))


def test_who_waits_while_one_batch_runs_is_decided_together_and_each_text_once() -> None:
    router = EchoRouter()

    async def body(queue: RouterQueue) -> None:
        router.gate.clear()
        first = asyncio.create_task(queue.decide(router, "first"))
        await settle()
        others = [asyncio.create_task(queue.decide(router, text)) for text in "abcab"]
        await settle()
        router.gate.set()
        assert [(await task).domain for task in (first, *others)] == [
            f"one:{text}" for text in ("first", *"abcab")
        ]

    run(body)
    assert router.batches == [["first"], ["a", "b", "c"]]


def test_a_batch_has_a_largest_size() -> None:
    router = EchoRouter()

    async def body(queue: RouterQueue) -> None:
        await queue.decide_many(router, list("abcdefgh"))

    run(body, most_together=3)
    assert [len(batch) for batch in router.batches] == [3, 3, 2]


def test_a_lone_request_is_not_held_back() -> None:
    router = EchoRouter()

    async def body(queue: RouterQueue) -> None:
        start_s = time.perf_counter()
        for at in range(20):
            await queue.decide(router, f"text {at}")
        assert time.perf_counter() - start_s < 2

    run(body)
    assert len(router.batches) == 20


def test_the_loop_goes_on_while_the_router_thinks() -> None:
    router = EchoRouter()

    async def body(queue: RouterQueue) -> None:
        router.gate.clear()
        asked = asyncio.create_task(queue.decide(router, "slow"))
        await asyncio.sleep(0.02)  # would never end if the loop were held: the gate opens below
        router.gate.set()
        await asked

    run(body)
    assert router.threads and threading.get_ident() not in router.threads


def test_all_decisions_are_made_in_one_thread() -> None:
    routers = [EchoRouter("one"), EchoRouter("two")]

    async def body(queue: RouterQueue) -> None:
        for at in range(6):
            await queue.decide_many(routers[at % 2], [f"{at}", f"{at} again"])

    run(body)
    assert len(routers[0].threads | routers[1].threads) == 1


def test_a_router_swapped_between_calls_answers_only_those_who_asked_it() -> None:
    former, latter = EchoRouter("former"), EchoRouter("latter")

    async def body(queue: RouterQueue) -> None:
        former.gate.clear()
        asked = [
            asyncio.create_task(queue.decide(former, "a")),
            asyncio.create_task(queue.decide(former, "b")),
        ]
        await settle()
        asked += [
            asyncio.create_task(queue.decide(router, "c")) for router in (former, latter, former, latter)
        ]
        await settle()
        former.gate.set()
        assert [(await task).domain for task in asked] == [
            "former:a", "former:b", "former:c", "latter:c", "former:c", "latter:c",
        ]  # fmt: skip

    run(body)


def test_a_text_that_fails_takes_no_other_with_it() -> None:
    router = EchoRouter()

    async def body(queue: RouterQueue) -> None:
        good, bad, other = await asyncio.gather(
            *(queue.decide(router, text) for text in ("good", "bad", "other")), return_exceptions=True
        )
        assert isinstance(good, RoutingDecision) and good.domain == "one:good"
        assert isinstance(other, RoutingDecision) and other.domain == "one:other"
        assert isinstance(bad, ValueError) and str(bad) == "bad"
        assert (await queue.decide(router, "after")).domain == "one:after"

    run(body)


def test_known_texts_answer_while_the_router_is_busy() -> None:
    busy, router = EchoRouter(), EchoRouter("two", known=frozenset(["seen"]))

    async def body(queue: RouterQueue) -> None:
        busy.gate.clear()
        asked = asyncio.create_task(queue.decide(busy, "slow"))
        await settle()
        assert (await queue.decide(router, "seen")).domain == "two:seen"
        assert not asked.done()
        busy.gate.set()
        await asked

    run(body)
    assert router.batches == []


def test_too_many_are_refused_and_those_who_leave_make_room() -> None:
    router = EchoRouter()

    async def body(queue: RouterQueue) -> None:
        router.gate.clear()
        first = asyncio.create_task(queue.decide(router, "runs"))
        await settle()
        waiting = [asyncio.create_task(queue.decide(router, f"{at}")) for at in range(2)]
        await settle()
        with pytest.raises(RouterBusyError, match="2 requests wait"):
            await queue.decide(router, "one too many")
        waiting[0].cancel()
        await settle()
        late = asyncio.create_task(queue.decide(router, "late"))
        await settle()
        router.gate.set()
        assert [(await task).domain for task in (first, waiting[1], late)] == [
            "one:runs",
            "one:1",
            "one:late",
        ]

    run(body, capacity=2)
    assert ["1", "late"] in router.batches


def test_closing_leaves_nobody_waiting() -> None:
    router = EchoRouter()

    async def body(queue: RouterQueue) -> None:
        router.gate.clear()
        asked = [asyncio.create_task(queue.decide(router, text)) for text in "ab"]
        await settle()
        asked.append(asyncio.create_task(queue.decide(router, "c")))
        await settle()
        queue.close()
        router.gate.set()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(outcomes[2], asyncio.CancelledError)
        with pytest.raises((RuntimeError, asyncio.CancelledError)):
            await queue.decide(router, "too late")

    run(body)


def test_matrix_products_have_one_thread_while_a_queue_decides() -> None:
    """In a process of its own: what others loaded or limited must not decide."""
    script = (
        "from threadpoolctl import threadpool_info as info\n"
        "from crma_router.batching import RouterQueue\n"
        "RouterQueue().close()\n"
        "print({one['num_threads'] for one in info() if one['user_api'] == 'blas'})"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "{1}"
