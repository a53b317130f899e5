"""Paired ratios and goals, on made-up turns."""

import pytest

from crma_eval.serving.bench.report import BOUNDS, Bound, Verdict, cells_of, paired, verdicts
from crma_eval.serving.bench.turns import Found


def found(repeat: int, system: str, duration_s: float, at: int = 8, wait_s: float = 1.0) -> Found:
    return Found(repeat, system, at, duration_s, 100, (wait_s,) * 4, ((wait_s / 10,) * 5,) * 4, duration_s, 1)


def test_ratios_pair_turns_of_one_repeat() -> None:
    """The machine halves its speed after the first repeat: unpaired, d would look half as fast or twice."""
    cells = cells_of([found(0, "c", 1.0), found(0, "d", 1.25), found(1, "c", 2.0), found(1, "d", 2.5)])
    ratio = paired(cells, "d", "c", 8, "tokens/s")
    assert ratio == pytest.approx((0.8, 0.8))


def test_a_repeat_without_its_partner_does_not_count() -> None:
    cells = cells_of([found(0, "c", 1.0), found(0, "d", 1.0), found(1, "d", 5.0), found(0, "d", 9.0, at=1)])
    ratio = paired(cells, "d", "c", 8, "tokens/s")
    assert ratio == (1.0,)
    assert paired(cells, "d", "c", 1, "tokens/s") == ()
    assert paired(cells, "h", "f", 8, "tokens/s") == ()


def test_latency_goals_look_at_resident_adapters_alone() -> None:
    h = Found(0, "h", 8, 1.0, 100, (1.0, 9.0), ((0.1,), (0.9,)), 1.0, 1, (True, False))
    ratio = paired(cells_of([h, found(0, "f", 1.0)]), "h", "f", 8, "TTFT p99")
    assert ratio == pytest.approx((1.0,))


def test_a_turn_without_a_resident_adapter_is_no_number() -> None:
    h = Found(0, "h", 8, 1.0, 100, (9.0,), ((0.9,),), 1.0, 1, (False,))
    assert paired(cells_of([h, found(0, "f", 1.0)]), "h", "f", 8, "TTFT p99") == ()


@pytest.mark.parametrize(
    ("values", "met", "certain"),
    [((0.99, 1.0), True, True), ((0.9, 0.98), False, True), ((0.9, 1.0, 1.0), True, False)],
)
def test_a_verdict_is_by_the_median(values: tuple[float, ...], met: bool, certain: bool) -> None:
    verdict = Verdict(Bound("d", "c", "tokens/s", 0.99), 8, values)
    assert (verdict.met, verdict.certain) == (met, certain)


def test_upper_bounds() -> None:
    goal = Bound("h", "f", "ITL p99", 1.2, at_least=False)
    assert goal.met(1.2) and not goal.met(1.21) and goal.text() == "≤ 1.2"


def test_every_goal_is_judged_at_every_concurrency_measured() -> None:
    everything = [found(0, key, 1.0, at) for key in "abcdefgh" for at in (1, 8)]
    assert len(verdicts(cells_of(everything))) == 2 * len(BOUNDS)
    assert [v.bound.system for v in verdicts(cells_of(everything[:6]))] == ["b"] * 2
