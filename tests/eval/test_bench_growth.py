"""Where a curve bends."""

import pytest

from crma_eval.serving.bench.curves import CURVES, TOKEN, Curve, point_key
from crma_eval.serving.bench.growth import bend_of, flat_until, in_words, points_of
from crma_eval.serving.bench.ratios import Cells, cells_of
from crma_eval.serving.bench.turn import Found

CURVE = Curve("store", "Adapters", "adapters", (1, 10, 100, 1000), TOKEN)


def cells(costs: dict[int, float], repeats: int = 1) -> Cells:
    return cells_of(
        [
            Found(r, point_key("store", x), 8, cost * (1 + r), 1000, (cost,), ((cost,),), 1.0, 1)
            for r in range(repeats)
            for x, cost in costs.items()
        ]
    )


def test_costs_are_relative_to_the_first_point_of_their_repeat() -> None:
    """The second repeat's machine is half as fast."""
    points = points_of(CURVE, cells({1: 2.0, 10: 2.0, 100: 3.0, 1000: 8.0}, repeats=2))
    assert [point.growth for point in points] == pytest.approx([1, 1, 1.5, 4])
    assert points[3].relative == pytest.approx((4, 4))
    assert points[0].cost_ms == pytest.approx(3.0)  # of 2 and 4 ms a token


def test_a_bend_is_where_the_exponent_rises_most() -> None:
    points = points_of(CURVE, cells({1: 1.0, 10: 1.05, 100: 1.5, 1000: 15.0}))
    bend = bend_of(points)
    assert bend is not None and bend.x == 100
    assert bend.after == pytest.approx(1.0)
    assert flat_until(points) == 10
    assert "bends at 100" in in_words(points) and "up to 10," in in_words(points)


def test_a_flat_curve_is_called_flat_and_a_straight_one_has_no_bend() -> None:
    assert in_words(points_of(CURVE, cells({1: 1.0, 10: 1.02, 100: 0.99, 1000: 1.09}))).startswith("Flat")
    straight = points_of(CURVE, cells({1: 1.0, 10: 10.0, 100: 100.0, 1000: 1000.0}))
    assert bend_of(straight) is None and "No bend" in in_words(straight)


def test_points_that_were_not_measured_are_left_out() -> None:
    assert [point.x for point in points_of(CURVE, cells({1: 1.0, 100: 2.0}))] == [1, 100]
    assert points_of(CURVE, cells({10: 1.0})) == ()


def test_the_issue_s_ranges_are_covered() -> None:
    ends = {curve.key: (curve.points[0], curve.points[-1]) for curve in CURVES}
    assert ends["store"] == (1, 1000) and ends["batch"] == (1, 32)
    assert ends["rank"] == (4, 64) and ends["prompt"] == ends["prompt-bare"] == (32, 4096)
