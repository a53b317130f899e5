"""The clock around decisions, and the grid."""

import time

import pytest

from crma_eval.routing.latency.table import CACHED, CALLERS, COLD, LENGTHS, cells, measure_table
from crma_eval.routing.latency.timing import quantiles, time_decisions
from crma_router.policy import RoutingDecision


class SleepyRouter:
    """Takes `delay_s` for a batch of any size, nothing for what it has seen."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.batches: list[int] = []
        self.seen: dict[str, RoutingDecision] = {}
        self._delay_s = delay_s

    def route_known(self, text: str) -> RoutingDecision | None:
        return self.seen.get(text)

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        time.sleep(self._delay_s)
        self.batches.append(len(texts))
        self.seen |= {text: RoutingDecision("a", 1.0, "routed", "", {}, 0.0, 1.0) for text in texts}
        return [self.seen[text] for text in texts]


def test_quantiles_of_a_hundred_and_one() -> None:
    found = quantiles([float(value) for value in range(100, -1, -1)])
    assert (found.p50, found.p90, found.p99) == (50, 90, 99)


def test_waiting_is_seen_and_is_no_cpu_time() -> None:
    timing = time_decisions(SleepyRouter(0.02), [f"text {at}" for at in range(8)], 1)
    assert timing.decisions == 8
    assert timing.waited.p50 >= 20
    assert timing.cpu.p50 < 10


def test_one_caller_asks_one_by_one_and_eight_together() -> None:
    alone, together = SleepyRouter(0.005), SleepyRouter(0.005)
    texts = [f"text {at}" for at in range(32)]
    time_decisions(alone, texts, 1)
    time_decisions(together, texts, 8)
    assert alone.batches == [1] * 32
    assert max(together.batches) >= 7
    assert sum(together.batches) == 32


def test_the_table_is_the_whole_grid_and_cached_texts_are_not_computed_again() -> None:
    router = SleepyRouter()
    done: list[int] = []
    found = measure_table(router, 10, 0, lambda: done.append(1))
    assert [one.cell for one in found] == list(cells())
    assert len(found) == len(done) == len(LENGTHS) * len(CALLERS) * 2
    assert {one.timing.decisions for one in found} == {10}
    assert sum(router.batches) == 20 + 10 * len(LENGTHS) * len(CALLERS)  # the warm-up, then the cold ones
    assert {one.cell.memory for one in found} == {COLD, CACHED}


def test_a_broken_router_is_heard() -> None:
    class Broken(SleepyRouter):
        def route_many(self, texts: list[str]) -> list[RoutingDecision]:
            raise ValueError(f"broken by {texts}")

    with pytest.raises(ValueError, match="broken"):
        time_decisions(Broken(), ["a"], 1)
