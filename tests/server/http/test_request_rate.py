"""How many requests a minute a key may send."""

import pytest

from crma_server.http.request_rate import RequestRate


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_and_then_one_each_interval() -> None:
    clock = Clock()
    rate = RequestRate(6, clock)
    assert [rate.wait_s("a") for _ in range(6)] == [0.0] * 6
    assert rate.wait_s("a") == pytest.approx(10.0)
    clock.now_s += 4
    assert rate.wait_s("a") == pytest.approx(6.0)
    clock.now_s += 6
    assert rate.wait_s("a") == 0.0
    assert rate.wait_s("a") == pytest.approx(10.0)


def test_over_an_hour_no_more_than_asked_for() -> None:
    clock = Clock()
    rate = RequestRate(30, clock)
    taken = 0
    for _ in range(36_000):
        clock.now_s += 0.1
        taken += rate.wait_s("a") == 0.0
    assert 60 * 30 <= taken <= 61 * 30


def test_keys_do_not_share() -> None:
    rate = RequestRate(1, Clock())
    assert rate.wait_s("a") == 0.0
    assert rate.wait_s("a") > 0.0
    assert rate.wait_s("b") == 0.0


def test_no_limit() -> None:
    rate = RequestRate(0, Clock())
    assert {rate.wait_s("a") for _ in range(1000)} == {0.0}


def test_keys_long_unused_are_forgotten() -> None:
    clock = Clock()
    rate = RequestRate(60, clock)
    for number in range(5000):
        clock.now_s += 1
        rate.wait_s(f"key-{number}")
    assert len(rate._buckets) <= 1024
