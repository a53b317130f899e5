"""The fold is the module."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crma_adapters.crma.block import CrmaBlock
from crma_adapters.crma.config import MODES, CrmaConfig, Mode
from crma_adapters.crma.fold import fold

CONFIG = CrmaConfig(hidden_size=16, num_layers=1, rank=3)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**31), st.sampled_from(MODES), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([1, 2])
)
def test_fold_equals_module(seed: int, mode: Mode, scale: float, form: Literal[1, 2]) -> None:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(16, 3, generator=generator)).Q
    block = CrmaBlock(replace(CONFIG, mode=mode, form=form), directions)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    hidden = torch.randn(4, 16, generator=generator)
    folded = fold(block)
    change = (block(hidden) - hidden).detach()
    torch.testing.assert_close(hidden @ folded.a.T @ folded.b.T, change, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_shapes_and_independence(mode: Mode) -> None:
    block = CrmaBlock(replace(CONFIG, mode=mode), torch.eye(16, 3))
    folded = fold(block)
    assert folded.a.shape == (3, 16)
    assert folded.b.shape == (16, 3)
    assert folded.a.dtype == folded.b.dtype == torch.float32
    assert not folded.a.requires_grad
    before = folded.b.clone()
    with torch.no_grad():
        block.write.add_(1.0)
    assert torch.equal(folded.b, before)
