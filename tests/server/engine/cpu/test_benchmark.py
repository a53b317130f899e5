import time

import pytest

from crma_server.engine.vllm.cpu import benchmark
from crma_server.engine.vllm.cpu.benchmark import Case, cases, measure, measure_reading


def test_every_slot_of_a_case_has_a_row() -> None:
    for case in cases():
        assert set(case.slot_of_rows()) == set(range(case.slots))
        assert len(case.slot_of_rows()) == case.rows


@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_every_way_is_timed(phase: str) -> None:
    timing = measure(Case(phase, rows=8, slots=2, rank=4), layers=1, repeats=2)
    assert set(timing.ms) == {"bound", "idle", "crma", "vllm"}
    assert all(ms > 0 for ms in timing.ms.values())
    assert timing.ms["idle"] < timing.ms["crma"]


def test_reading_a_slot_is_timed_both_ways() -> None:
    ms = measure_reading(rank=4, layers=2, repeats=2)
    assert set(ms) == {"c", "torch"} and 0 < ms["c"] < ms["torch"]


def test_what_takes_long_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "LONG_S", 0.005)
    turns: list[str] = []

    def busy(name: str, seconds: float) -> None:
        turns.append(name)
        start = time.thread_time()
        while time.thread_time() - start < seconds:
            pass

    ways = {"long": lambda: busy("long", 0.02), "short": lambda: busy("short", 0.0)}
    taken = benchmark._in_turns(ways, repeats=3)
    assert turns == ["long", *["short"] * 4] and taken["long"] >= 20
