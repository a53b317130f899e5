"""ZClip against the paper's formulas, by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crma_training.trainer.zclip import WARMUP_STEPS, ZClip


def warmed(mean: float, deviation: float) -> ZClip:
    """A ZClip whose warm-up norms have just this mean and (population) standard deviation."""
    zclip = ZClip(threshold=2.5)
    half = (WARMUP_STEPS - 1) // 2
    spread = deviation * math.sqrt(WARMUP_STEPS / (2 * half))
    for norm in [mean] + [mean - spread, mean + spread] * half:
        assert zclip.limit(norm) == norm  # nothing is clipped in the warm-up
    return zclip


def test_an_outlier_becomes_mean_plus_threshold_squared_over_z_deviations() -> None:
    assert warmed(1.0, 0.1).limit(2.0) == pytest.approx(1.0 + 2.5**2 / 10 * 0.1, rel=1e-4)  # z = 10


def test_norms_within_the_threshold_pass() -> None:
    assert warmed(1.0, 0.1).limit(1.24) == 1.24
    assert warmed(1.0, 0.1).limit(0.0) == 0.0


def test_a_worse_spike_is_clipped_harder_and_does_not_raise_the_bar() -> None:
    mild, wild = warmed(1.0, 0.1), warmed(1.0, 0.1)
    assert wild.limit(100.0) < mild.limit(1.5)
    assert wild.limit(1.5) <= warmed(1.0, 0.1).limit(1.5) * 1.01


def test_the_statistics_are_the_papers_moving_averages() -> None:
    zclip = warmed(1.0, 0.1)
    zclip.limit(1.1)
    mean = 0.97 * 1.0 + 0.03 * 1.1
    deviation = math.sqrt(0.97 * 0.01 + 0.03 * (1.1 - mean) ** 2)
    z = (3.0 - mean) / deviation
    assert zclip.limit(3.0) == pytest.approx(mean + 2.5**2 / z * deviation, rel=1e-4)


@pytest.mark.parametrize("norm", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_keeps_nothing_and_spoils_nothing(norm: float) -> None:
    zclip = warmed(1.0, 0.1)
    assert zclip.limit(norm) == 0.0
    assert zclip.limit(1.1) == 1.1


@given(st.floats(0, 1e6), st.floats(0.01, 10), st.floats(0, 10))
def test_the_limit_is_never_above_the_norm_nor_below_a_lower_mean(
    norm: float, mean: float, deviation: float
) -> None:
    allowed = warmed(mean, deviation).limit(norm)
    assert allowed <= norm * (1 + 1e-9)
    assert allowed >= min(norm, mean) * (1 - 1e-9)


def test_clipping_scales_all_gradients_of_the_group_alike() -> None:
    zclip = warmed(1.0, 0.1)
    first, second = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))
    first.grad, second.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0, 0.0])
    clipping = zclip.clip([first, second, torch.nn.Parameter(torch.zeros(1))])
    assert clipping.norm == pytest.approx(5.0)
    assert clipping.clipped
    assert clipping.clipped_norm == pytest.approx(1.0 + 2.5**2 / 40 * 0.1, rel=1e-4)
    assert torch.allclose(first.grad / 3, second.grad[1:2].expand(2) / 4 * torch.tensor([1.0, 0.0]))
    assert math.hypot(float(first.grad.norm()), float(second.grad.norm())) == pytest.approx(
        clipping.clipped_norm, rel=1e-5
    )


@pytest.mark.parametrize("entry", [math.inf, -math.inf, math.nan, 3e38])  # the last one's square overflows
def test_a_norm_that_is_not_finite_skips_the_step_and_the_next_one_is_taken(entry: float) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    adamw, zclip = torch.optim.AdamW([parameter], lr=0.1), ZClip()
    for gradient, skipped in (([1.0, 1.0], False), ([entry, entry], True), ([1.0, 1.0], False)):
        before = parameter.detach().clone()
        parameter.grad = torch.tensor(gradient)
        clipping = zclip.clip([parameter])
        adamw.step()
        assert clipping.skipped == skipped
        assert torch.equal(parameter, before) == skipped
        assert bool(torch.isfinite(parameter).all())
    assert all(bool(torch.isfinite(value).all()) for value in adamw.state[parameter].values())
