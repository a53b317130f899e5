"""What a curve's points cost beside its first."""

import pytest

from crma_eval.serving.bench.curves import TOKEN, Curve, in_words, point_key, points_of
from crma_eval.serving.bench.report import Cells, cells_of
from crma_eval.serving.bench.turns import Found

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


def test_what_a_curve_does_is_said() -> None:
    assert in_words(points_of(CURVE, cells({1: 1.0, 10: 1.02, 100: 0.99, 1000: 1.09}))).startswith("Flat")
    steep = points_of(CURVE, cells({1: 1.0, 10: 1.05, 100: 1.5, 1000: 15.0}))
    assert in_words(steep) == "Within 10 % of the first point up to 10, 15.00 times it at 1,000."


def test_points_that_were_not_measured_are_left_out() -> None:
    assert [point.x for point in points_of(CURVE, cells({1: 1.0, 100: 2.0}))] == [1, 100]
    assert points_of(CURVE, cells({10: 1.0})) == ()
