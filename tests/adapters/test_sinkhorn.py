"""The projection is doubly stochastic and its gradient exact and alive, for any logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crma_adapters.crma.sinkhorn import cap_logits, sinkhorn, solve_sinkhorn

RANGE = 8.0

seeds = st.integers(0, 2**31)
sizes = st.integers(2, 8)
scales = st.sampled_from([0.0, 0.1, 1.0, 4.0, 20.0, 1e3, 1e6])


def random_logits(seed: int, size: int, scale: float, *, batch: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.eye(size) + scale * torch.randn(batch, size, size, generator=generator)


@settings(deadline=None, max_examples=40)
@given(seeds, sizes, scales)
def test_rows_columns_and_norm_are_one(seed: int, size: int, scale: float) -> None:
    mixing = sinkhorn(cap_logits(random_logits(seed, size, scale), RANGE))
    assert mixing.dtype == torch.float32
    assert (mixing >= 0).all()
    exact = mixing.double()
    torch.testing.assert_close(exact.sum(-1), torch.ones(5, size).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(exact.sum(-2), torch.ones(5, size).double(), atol=1e-6, rtol=0)
    norms = torch.linalg.matrix_norm(exact, ord=2)
    torch.testing.assert_close(norms, torch.ones(5).double(), atol=1e-6, rtol=0)


@settings(deadline=None, max_examples=40)
@given(seeds, sizes, st.floats(-4, 4), st.floats(-4, 4))
def test_logits_of_two_values_converge(seed: int, size: int, low: float, high: float) -> None:
    """The slowest cases of alternating normalisation are made of extremes."""
    chosen = torch.rand(20, size, size, generator=torch.Generator().manual_seed(seed)) > 0.5
    solution = solve_sinkhorn(torch.where(chosen, low, high))
    assert (solution.sum(-1) - 1).abs().max() < 1e-8
    assert (solution.sum(-2) - 1).abs().max() < 1e-8


def test_alternating_normalisation_alone_would_not_do() -> None:
    """Why Newton steps follow: near a permutation 20 iterations are off by 5e-4 in float64."""
    logits = torch.tensor([[4.0, -4.0], [-3.0, 4.0]]).double()
    alternating = logits
    for _ in range(20):
        alternating = alternating - alternating.logsumexp(-1, keepdim=True)
        alternating = alternating - alternating.logsumexp(-2, keepdim=True)
    assert (alternating.exp().sum(-1) - 1).abs().max() > 1e-4
    assert (solve_sinkhorn(logits).sum(-1) - 1).abs().max() < 1e-9


def test_known_value() -> None:
    """Two by two has a closed form: m / (1 - m) = exp((a + d - b - c) / 2)."""
    mixing = sinkhorn(torch.tensor([[1.0, 0.0], [0.5, 2.0]]))
    expected = torch.sigmoid(torch.tensor((1.0 + 2.0 - 0.5) / 2))
    torch.testing.assert_close(mixing[0, 0], expected)
    torch.testing.assert_close(mixing[1, 0], 1 - expected)


def test_a_batch_is_its_members() -> None:
    logits = random_logits(3, 4, 1.0)
    singly = torch.stack([sinkhorn(one) for one in logits])
    torch.testing.assert_close(sinkhorn(logits), singly, atol=1e-7, rtol=0)


def test_a_given_solution_is_used() -> None:
    logits = random_logits(0, 4, 1.0)
    assert torch.equal(sinkhorn(logits, solution=solve_sinkhorn(logits)), sinkhorn(logits))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_show(bad: float) -> None:
    logits = torch.zeros(4, 4)
    logits[1, 2] = bad
    assert not torch.isfinite(solve_sinkhorn(logits)).all()


@settings(deadline=None, max_examples=15)
@given(seeds, sizes, st.sampled_from([0.0, 0.3, 1.0]))
def test_gradient_is_that_of_converged_iterations(seed: int, size: int, scale: float) -> None:
    logits = random_logits(seed, size, scale, batch=3).double().clamp(-1, 1).requires_grad_()
    weights = torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed + 1)).double()
    iterated = logits
    for _ in range(300):
        iterated = iterated - iterated.logsumexp(-1, keepdim=True)
        iterated = iterated - iterated.logsumexp(-2, keepdim=True)
    (expected,) = torch.autograd.grad((iterated.exp() * weights).sum(), logits)
    (given_,) = torch.autograd.grad((sinkhorn(logits).double() * weights).sum(), logits)
    torch.testing.assert_close(given_, expected, atol=1e-6, rtol=1e-5)


@settings(deadline=None, max_examples=40)
@given(seeds, sizes, scales)
def test_gradient_of_the_logits_is_never_zero(seed: int, size: int, scale: float) -> None:
    """Within the capped range and far beyond it, every matrix still learns."""
    logits = random_logits(seed, size, scale).requires_grad_()
    weights = torch.randn(5, size, size, generator=torch.Generator().manual_seed(seed + 1))
    (gradient,) = torch.autograd.grad((sinkhorn(cap_logits(logits, RANGE)) * weights).sum(), logits)
    assert torch.isfinite(gradient).all()
    assert (gradient.flatten(1).norm(dim=1) > 0).all()


@settings(deadline=None, max_examples=40)
@given(seeds, sizes, scales)
def test_capped_logits_stay_within_the_range(seed: int, size: int, scale: float) -> None:
    capped = cap_logits(random_logits(seed, size, scale).double(), RANGE)
    assert capped.max() - capped.min() <= RANGE


def test_the_cap_leaves_the_start_as_it_is() -> None:
    start = 4 * torch.eye(4)
    torch.testing.assert_close(sinkhorn(cap_logits(start, RANGE)), sinkhorn(start))


def test_the_cap_does_not_see_offsets_of_rows_and_columns() -> None:
    logits = random_logits(1, 4, 1.0).double()
    shifted = logits + 100 * torch.arange(4.0)[:, None] - 50 * torch.arange(4.0)
    torch.testing.assert_close(cap_logits(shifted, RANGE), cap_logits(logits, RANGE))


def test_the_cap_is_smooth_at_its_knee() -> None:
    """No jump of value or slope where the identity ends (3, for a range of 8)."""
    along = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double()
    heights = torch.tensor([3 - 1e-6, 3 + 1e-6], dtype=torch.float64, requires_grad=True)
    values = torch.stack([cap_logits(height * along, RANGE)[0, 0] for height in heights])
    (slopes,) = torch.autograd.grad(values.sum(), heights)
    assert float((values[1] - values[0]).detach()) == pytest.approx(2e-6, rel=1e-3)
    assert float(slopes[1] / slopes[0]) == pytest.approx(1.0, abs=1e-4)
