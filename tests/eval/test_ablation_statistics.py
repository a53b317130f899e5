import pytest

from crma_eval.learning.ablation.statistics import Paired, Share, paired, share


def wilson(right: int, asked: int) -> tuple[float, float]:
    """Wilson's interval by its formula, z of 95%."""
    z, p = 1.959963984540054, right / asked
    middle = p + z * z / (2 * asked)
    half = z * (p * (1 - p) / asked + z * z / (4 * asked * asked)) ** 0.5
    return (middle - half) / (1 + z * z / asked), (middle + half) / (1 + z * z / asked)


@pytest.mark.parametrize(("right", "asked"), [(98, 100), (0, 20), (20, 20), (7, 20), (1, 1)])
def test_wilson_by_its_formula(right: int, asked: int) -> None:
    assert Share(right, asked).interval == pytest.approx(wilson(right, asked), abs=1e-9)


def test_wilson_by_a_published_value() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3: 81 of 263.
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (3, 1, 2 * (1 + 4) / 16),  # two-sided binomial tail by hand: 2 * P(X >= 3), n = 4
        (5, 0, 2 / 32),
        (0, 5, 2 / 32),
        (6, 0, 2 / 64),
        (4, 4, 1.0),
        (0, 0, 1.0),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p: float) -> None:
    assert Paired(100, only_first, only_second).p == pytest.approx(p)


def test_counts_pairs_and_shares() -> None:
    first, second = [True, True, False, True, False], [True, False, True, False, False]
    assert paired(first, second) == Paired(5, 2, 1)
    assert paired(first, second).lead == 1
    assert share(first) == Share(3, 5)


def test_unequal_numbers_of_answers_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired([True], [True, False])
