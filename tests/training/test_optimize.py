"""Learning rates over time, and one step of the grouped optimizer."""

import pytest
import torch

from crma_training.optimize import GroupOptimizer, ParameterGroup, rate_factor


def test_the_rate_rises_over_the_warm_up_and_falls_to_the_end() -> None:
    cosine = [rate_factor(step, 100, "cosine", 0.1) for step in range(100)]
    assert cosine[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert cosine[10] == 1.0
    assert cosine[55] == pytest.approx(0.5)
    assert cosine[10:] == sorted(cosine[10:], reverse=True)
    assert 0 < cosine[-1] < 0.001


def test_linear_is_a_line() -> None:
    assert [rate_factor(step, 4, "linear", 0.0) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_a_single_step_has_the_full_rate() -> None:
    assert rate_factor(0, 1, "cosine", 0.05) == 1.0


def test_groups_move_at_their_own_rate_and_only_decaying_ones_shrink() -> None:
    lora, gate = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    groups = [ParameterGroup("lora", (lora,), 0.1, 0.5), ParameterGroup("alpha", (gate,), 0.01, 0.0)]
    optimizer = GroupOptimizer(groups, steps=1, schedule="linear", warmup=0.0, zclip_threshold=2.5)
    lora.grad, gate.grad = torch.ones(2), torch.ones(2)
    update = optimizer.step(0)
    # Adam's first step is the rate itself against the gradient's sign; AdamW first shrinks by rate * decay.
    assert lora.tolist() == pytest.approx([1 - 0.1 * 0.5 - 0.1] * 2)
    assert gate.tolist() == pytest.approx([1 - 0.01] * 2)
    assert lora.grad is None
    assert update.learning_rates == {"lora": 0.1, "alpha": 0.01}
    assert update.clippings["lora"].norm == pytest.approx(2**0.5)


def test_an_infinite_gradient_in_one_group_skips_the_step_of_all() -> None:
    lora, gate = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    groups = [ParameterGroup("lora", (lora,), 0.1, 0.5), ParameterGroup("alpha", (gate,), 0.01, 0.0)]
    optimizer = GroupOptimizer(groups, steps=2, schedule="linear", warmup=0.0, zclip_threshold=2.5)
    lora.grad, gate.grad = torch.ones(2), torch.tensor([float("inf"), 1.0])
    assert optimizer.step(0).skipped
    assert lora.tolist() == gate.tolist() == [1, 1]
    assert lora.grad is None
    lora.grad, gate.grad = torch.ones(2), torch.ones(2)
    assert not optimizer.step(1).skipped
    assert bool(torch.isfinite(torch.cat([lora, gate])).all())
    assert lora[0] < 1
