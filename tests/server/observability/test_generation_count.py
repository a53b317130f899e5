from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from crma_server.observability.generation_count import GenerationCounter
from crma_server.observability.metrics import Metrics
from crma_server.routing.selector import InFlight

VERSION, CRMA = "de91ac039f2f", "a0afad0b46d1"
MODEL = f"medical@{VERSION}+{CRMA}"


class Counted:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.in_flight = InFlight()
        times: Iterator[float] = iter([10.0, 13.0, 20.0, 21.0])
        self.counter = GenerationCounter(Metrics(self.registry), self.in_flight, lambda: next(times))

    def value(self, name: str, **labels: str) -> float | None:
        given = {"adapter": "medical", "version": VERSION, "crma": "on"} | labels
        return self.registry.get_sample_value(f"crma_adapter_{name}", given)


def test_a_generation_is_counted_under_its_adapter_and_version() -> None:
    counted = Counted()
    with counted.counter.generation(MODEL) as generation:
        assert counted.value("in_flight") == 1
        assert counted.in_flight.count(MODEL) == 1
        generation.saw(7, 0, 2, adds=True)
        generation.saw(7, 0, 3, adds=True)
        generation.first_token_s = 0.5
        generation.finished = True
    assert counted.value("in_flight") == 0
    assert counted.in_flight.count(MODEL) == 0
    assert counted.value("answers_total", finished="yes") == 1
    assert (counted.value("prompt_tokens_total"), counted.value("generated_tokens_total")) == (7, 5)
    assert counted.value("first_token_seconds_sum") == 0.5
    assert counted.value("answer_seconds_sum") == 3.0


def test_sequences_add_up_and_whole_answers_do_not_count_twice() -> None:
    counted = Counted()
    with counted.counter.generation(MODEL) as generation:
        for sequence in (0, 1):
            generation.saw(7, sequence, 2, adds=False)
            generation.saw(7, sequence, 4, adds=False)
    assert counted.value("generated_tokens_total") == 8


def test_one_that_is_given_up_is_counted_too() -> None:
    counted = Counted()
    with pytest.raises(ConnectionError), counted.counter.generation(MODEL) as generation:
        generation.saw(7, 0, 1, adds=True)
        raise ConnectionError
    assert counted.in_flight.count(MODEL) == 0
    assert counted.value("answers_total", finished="no") == 1
    assert counted.value("generated_tokens_total") == 1


def test_with_and_without_crma_are_told_apart() -> None:
    counted = Counted()
    off = f"medical@{VERSION}:crma-off"
    with counted.counter.generation(MODEL), counted.counter.generation(off):
        assert (counted.value("in_flight"), counted.value("in_flight", crma="off")) == (1, 1)
        assert (counted.in_flight.count(MODEL), counted.in_flight.count(off)) == (1, 1)
