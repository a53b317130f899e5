"""One block: its formula, its modes, its bounds for any parameters."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crma_adapters.crma.block import CrmaBlock, apply_maps, orthonormal_columns
from crma_adapters.crma.config import MODES, CrmaConfig, Mode

D, N = 12, 4
FORM_1 = CrmaConfig(hidden_size=D, num_layers=1, rank=N, form=1)
FORM_2 = replace(FORM_1, form=2)

seeds = st.integers(0, 2**31)
scales = st.sampled_from([0.0, 1e-12, 0.1, 1.0, 30.0, 1e4])


def start_block(mode: Mode, seed: int = 0, config: CrmaConfig = FORM_1) -> CrmaBlock:
    directions = torch.linalg.qr(torch.randn(D, N, generator=torch.Generator().manual_seed(seed))).Q
    return CrmaBlock(replace(config, mode=mode), directions)


def random_block(mode: Mode, seed: int, scale: float = 1.0, config: CrmaConfig = FORM_1) -> CrmaBlock:
    block = start_block(mode, config=config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return block


def whole_map(block: CrmaBlock) -> torch.Tensor:
    """The block as one matrix (d, d) float64, from the factors it computes with."""
    down, up = (factor.detach().double() for factor in block.maps())
    return torch.eye(D).double() + up @ down


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("config", [FORM_1, FORM_2])
def test_forward_is_the_formula(mode: Mode, config: CrmaConfig) -> None:
    block = random_block(mode, seed=1, config=config)
    hidden = torch.randn(2, 5, D)
    mixing, alpha = block.mixing_matrix(), block.alpha()
    if alpha is None:
        alpha = torch.ones(())
    if mode == "nonexpansive":
        write = orthonormal_columns(block.write)
        expected = hidden + alpha * hidden @ write @ (mixing - torch.eye(N)).T @ write.T
    else:
        assert block.read is not None
        expected = hidden + alpha * hidden @ block.read.T @ mixing.T @ block.write.T
    torch.testing.assert_close(block(hidden), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_starts_near_the_identity(mode: Mode) -> None:
    block = start_block(mode)
    alpha = block.alpha()
    assert alpha is not None
    assert float(alpha.detach()) == pytest.approx(0.01, rel=1e-5)
    assert torch.linalg.matrix_norm(whole_map(block) - torch.eye(D), ord=2) < 0.0101


@pytest.mark.parametrize("mode", MODES)
def test_form_2_starts_as_the_identity_and_has_no_gate(mode: Mode) -> None:
    """Exactly where U is zero; mode `nonexpansive` needs directions to learn, and starts near it."""
    block = start_block(mode, config=FORM_2)
    distance = torch.linalg.matrix_norm(whole_map(block) - torch.eye(D), ord=2)
    assert distance < (0.08 if mode == "nonexpansive" else 1e-12)
    assert block.alpha() is None
    assert "log_alpha" not in block.state_dict()


@pytest.mark.parametrize("mode", MODES)
def test_form_2_learns_from_its_start(mode: Mode) -> None:
    """At a LoRA's rate a hundred steps fit a map that the mode can make; M moves where it is free to."""
    torch.manual_seed(0)
    block = start_block(mode, config=FORM_2)
    basis = torch.linalg.qr(torch.randn(D, N)).Q
    hidden = torch.randn(64, D)
    target = hidden - hidden @ basis @ basis.T * 0.5
    start, moved = torch.nn.functional.mse_loss(block(hidden), target), block.logits.detach().clone()
    optimizer = torch.optim.AdamW([p for p in block.parameters() if p.requires_grad], lr=2e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(block(hidden), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss < 0.7 * start
    assert torch.equal(moved, block.logits) == (mode == "identity")


def test_dropout_drops_whole_directions_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    down, up, hidden = torch.randn(N, D), torch.randn(D, N), torch.randn(1, D)
    whole = apply_maps(hidden, down, up)[1]
    several = torch.stack([apply_maps(hidden, down, up, dropout=0.5)[1] for _ in range(4000)])
    assert several.std(0).min() > 0
    torch.testing.assert_close(several.mean(0), whole, atol=1.0, rtol=0.1)


def test_free_starts_where_residual_does() -> None:
    hidden = torch.randn(3, D)
    torch.testing.assert_close(start_block("free")(hidden), start_block("residual")(hidden))


def test_identity_mixes_nothing_and_has_no_logits_to_train() -> None:
    block = random_block("identity", seed=3)
    assert torch.equal(block.mixing_matrix(), torch.eye(N))
    assert not block.logits.requires_grad


def test_nonexpansive_starts_at_the_given_directions() -> None:
    block = start_block("nonexpansive", seed=5)
    torch.testing.assert_close(orthonormal_columns(block.write), block.write.data, atol=1e-6, rtol=0)


@settings(deadline=None, max_examples=80)
@given(seeds, scales, st.sampled_from([-200.0, 0.0, 3.0, 200.0]))
def test_nonexpansive_never_expands(seed: int, scale: float, gate: float) -> None:
    """For any parameters, all-zero ones and shut or saturated gates among them."""
    block = random_block("nonexpansive", seed, scale)
    with torch.no_grad():
        assert block.log_alpha is not None
        block.log_alpha.fill_(gate)
    assert torch.linalg.matrix_norm(whole_map(block), ord=2) <= 1 + 1e-6


def test_nonexpansive_never_expands_with_dependent_columns() -> None:
    block = start_block("nonexpansive")
    with torch.no_grad():
        block.write.copy_(torch.ones(D, N))
        block.logits.copy_(torch.randn(N, N))
        assert block.log_alpha is not None
        block.log_alpha.fill_(10.0)
    assert torch.linalg.matrix_norm(whole_map(block), ord=2) <= 1 + 1e-6


def test_a_saturated_nonexpansive_gate_can_come_back() -> None:
    block = start_block("nonexpansive")
    with torch.no_grad():
        assert block.log_alpha is not None
        block.log_alpha.fill_(5.0)
    block(torch.randn(3, D)).sum().backward()
    assert block.log_alpha is not None
    assert block.log_alpha.grad is not None
    assert block.log_alpha.grad != 0


@settings(deadline=None, max_examples=20)
@given(seeds, st.sampled_from([1e-3, 0.1, 3.0, 50.0]), st.sampled_from(["residual", "nonexpansive"]))
def test_stays_doubly_stochastic_after_any_step(seed: int, rate: float, mode: Mode) -> None:
    """The gate stays as it is: shut by a huge step it would leave nothing to differentiate."""
    block = start_block(mode)
    trained = [parameter for parameter in block.parameters() if parameter is not block.log_alpha]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        hidden, target = torch.randn(2, 6, D, generator=generator)
        optimizer.zero_grad()
        loss: torch.Tensor = torch.nn.functional.mse_loss(block(hidden), target)
        loss.backward()  # type: ignore[no-untyped-call]
        assert block.logits.grad is not None
        assert block.logits.grad.abs().max() > 0
        optimizer.step()
        mixing = block.mixing_matrix().detach().double()
        for sums in (mixing.sum(0), mixing.sum(1), torch.linalg.matrix_norm(mixing, ord=2)):
            assert (sums - 1).abs().max() <= 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_mixes_in_float32_and_keeps_the_dtype(dtype: torch.dtype) -> None:
    block = random_block("residual", seed=2, scale=0.3)
    hidden = torch.randn(2, 7, D).to(dtype)
    exact = block(hidden.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = block(hidden)
    assert mixed.dtype == dtype
    assert torch.equal(mixed, exact.to(dtype))
