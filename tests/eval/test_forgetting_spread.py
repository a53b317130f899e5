import pytest

from crma_eval.learning.spread import Spread, disjoint, spread


def test_mean_sample_deviation_and_range_by_hand() -> None:
    found = Spread((1.0, 2.0, 6.0))
    assert found.mean == 3.0 and (found.low, found.high) == (1.0, 6.0)
    assert found.deviation == pytest.approx(7**0.5)  # (4 + 1 + 9) / 2
    assert found.text(" %", digits=1) == "3.0 ± 2.6 %"


def test_one_seed_has_no_deviation() -> None:
    assert Spread((0.125,)).deviation is None
    assert Spread((0.125,)).text(" %", scale=100, digits=1, signed=True) == "+12.5 %"


def test_a_tiny_negative_is_printed_as_zero() -> None:
    assert Spread((-1e-9,)).text(signed=True) == "+0.00"


def test_a_figure_that_some_seed_lacks_has_no_spread() -> None:
    assert spread([1.0, None]) is None and spread([]) is None
    assert spread([1.0, 2.0]) == Spread((1.0, 2.0))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((1.0, 2.0), (3.0, 4.0), True),
        ((3.0, 4.0), (1.0, 2.0), True),
        ((1.0, 3.0), (2.0, 4.0), False),
        ((1.0, 2.0), (2.0, 3.0), False),
        ((1.0, 9.0), (4.0, 5.0), False),
        ((1.0,), (3.0, 4.0), None),
    ],
)
def test_ranges_that_touch_are_not_disjoint_and_one_seed_has_none(
    first: tuple[float, ...], second: tuple[float, ...], expected: bool | None
) -> None:
    assert disjoint(Spread(first), Spread(second)) is expected
