"""The kernel in C: compiled once, exact whatever stands beside a row, and replaced where it cannot be."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.models.cache import CACHE_VARIABLE
from crma_server.engine.vllm.cpu import native, products
from crma_server.engine.vllm.cpu.native import BLOCK, Kernel, block_rows, native_kernel
from crma_server.engine.vllm.cpu.products import NO_SLOT, StepRows
from crma_server.engine.vllm.cpu.weights import ModuleWeights

SLOTS, RANK, IN = 3, 5, 37
OUT = (45, 9)
"""Sizes that no vector, no tile of ranks and no tile of columns divides."""

slot_lists = st.lists(st.integers(NO_SLOT, SLOTS - 1), min_size=1, max_size=24)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    found = native_kernel()
    if found is None:
        pytest.skip("needs a C compiler")
    return found


def weights() -> ModuleWeights:
    generator = torch.Generator().manual_seed(0)
    a = [torch.randn(SLOTS, 1, RANK, IN, generator=generator) for _ in OUT]
    b = [torch.randn(SLOTS, 1, out, RANK, generator=generator) for out in OUT]
    made = ModuleWeights(a, b, OUT)
    made.read_stale()
    return made


def rows(count: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count)).to(dtype)


def step(slots: Sequence[int]) -> StepRows:
    return StepRows(np.array(slots, dtype=np.int64))


@given(slots=slot_lists, dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_a_row_is_the_same_to_the_last_bit_whatever_stands_beside_it(
    kernel: Kernel, slots: list[int], dtype: torch.dtype
) -> None:
    packed = weights()
    x, y = rows(len(slots), IN, dtype), rows(len(slots), sum(OUT), dtype)
    together = y.clone()
    native.add_products(kernel, packed, step(slots), together, x, 0.5)
    for row, slot in enumerate(slots):
        alone = y[row : row + 1].clone()
        native.add_products(kernel, packed, step([slot]), alone, x[row : row + 1], 0.5)
        assert torch.equal(together[row], alone[0])


@given(slots=slot_lists, dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_it_adds_what_pytorch_adds(kernel: Kernel, slots: list[int], dtype: torch.dtype) -> None:
    packed = weights()
    x, y = rows(len(slots), IN, dtype), rows(len(slots), sum(OUT), dtype)
    given_y, expected = y.clone(), y.clone()
    native.add_products(kernel, packed, step(slots), given_y, x, 2.0)
    products.add_products(packed, step(slots), expected, x, 2.0)
    tolerance = 1e-4 if dtype is torch.float32 else 0.02
    assert torch.allclose(given_y.float(), expected.float(), rtol=tolerance, atol=tolerance)


def test_rows_may_lie_apart(kernel: Kernel) -> None:
    """A layer may pass columns of a wider tensor."""
    packed, slots = weights(), [0, 2, NO_SLOT, 1]
    wide_x, wide_y = rows(4, IN + 3, torch.float32), rows(4, sum(OUT) + 5, torch.float32)
    expected = wide_y.clone()
    products.add_products(packed, step(slots), expected[:, 2:-3], wide_x[:, 1:-2], 1.0)
    native.add_products(kernel, packed, step(slots), wide_y[:, 2:-3], wide_x[:, 1:-2], 1.0)
    assert torch.allclose(wide_y, expected, atol=1e-4)
    assert torch.equal(wide_y[:, :2], expected[:, :2]) and torch.equal(wide_y[:, -3:], expected[:, -3:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_types_go_through_pytorch(kernel: Kernel, dtype: torch.dtype) -> None:
    packed, slots = weights(), [0, 1]
    x, y = rows(2, IN, dtype), torch.zeros(2, sum(OUT), dtype=dtype)
    expected = y.clone()
    products.add_products(packed, step(slots), expected, x, 1.0)
    native.add_products(kernel, packed, step(slots), y, x, 1.0)
    assert y.any() and torch.equal(y, expected)


def test_bfloat16_is_rounded_to_nearest_and_nan_stays_nan(kernel: Kernel) -> None:
    a, b = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 4, 1)
    a[0] = 1
    packed = ModuleWeights([a], [b], [4])
    packed.read_stale()
    values = torch.tensor([[1.00390625], [math.nan], [math.inf], [-3.0e38]], dtype=torch.bfloat16)
    y = torch.zeros(4, 4, dtype=torch.bfloat16)
    native.add_products(kernel, packed, step([0] * 4), y, values, 1.0)
    assert torch.equal(y.nan_to_num(7.0), values.expand(4, 4).nan_to_num(7.0))


def test_what_c_takes_and_what_it_does_not_share_a_step(kernel: Kernel) -> None:
    packed, rows_of_step = weights(), step([0, 2, NO_SLOT, 1])
    for dtype in (torch.float16, torch.float32, torch.float16):
        x, y = rows(4, IN, dtype), rows(4, sum(OUT), dtype)
        expected = y.clone()
        products.add_products(packed, step([0, 2, NO_SLOT, 1]), expected, x, 1.0)
        native.add_products(kernel, packed, rows_of_step, y, x, 1.0)
        assert torch.allclose(y.float(), expected.float(), atol=1e-4)


@given(slot_lists)
def test_every_row_with_a_slot_is_in_one_block(slots: list[int]) -> None:
    laid = block_rows(np.array(slots, dtype=np.int64))
    found = [(row, slot) for first, size, slot in laid.blocks for row in laid.rows[first : first + size]]
    assert sorted(found) == [(row, slot) for row, slot in enumerate(slots) if slot != NO_SLOT]
    assert all(0 < size <= BLOCK for _, size, _ in laid.blocks) and (laid.struct is None) == (not found)


@pytest.mark.parametrize("compiler", ["", "no-such-compiler", "false"])
def test_without_a_compiler_it_says_so(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    native._kernel.cache_clear()
    assert native_kernel() is None
    assert "no C compiler" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.so"))
    native._kernel.cache_clear()


@pytest.mark.usefixtures("kernel")
def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    made: list[int] = []
    for _ in range(2):
        native._kernel.cache_clear()
        assert native_kernel() is not None
        [library] = tmp_path.rglob("kernel.so")
        made.append(library.stat().st_mtime_ns)
    assert made[0] == made[1]
    native._kernel.cache_clear()
