"""What must not reach a neighbour, in C and in PyTorch: overflow, infinities, rows that only fill up."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from crma_server.engine.vllm.cpu import native, products
from crma_server.engine.vllm.cpu.native import native_kernel
from crma_server.engine.vllm.cpu.products import NO_SLOT, StepRows
from crma_server.engine.vllm.cpu.weights import ModuleWeights

AddProducts = Callable[[ModuleWeights, StepRows, torch.Tensor, torch.Tensor, float], None]

SLOTS, RANK, IN, OUT = 4, 2, 6, 5
SCATTERED = [0, 1, NO_SLOT, 3, 0, 1, 0]


@pytest.fixture(params=["native", "torch"])
def add_products(request: pytest.FixtureRequest) -> AddProducts:
    if request.param == "torch":
        return products.add_products
    kernel = native_kernel()
    if kernel is None:
        pytest.skip("needs a C compiler")
    return partial(native.add_products, kernel)


def stacks() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(SLOTS, 1, RANK, IN, generator=generator)
    return a, torch.randn(SLOTS, 1, OUT, RANK, generator=generator)


def added(add_products: AddProducts, a: torch.Tensor, b: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    weights, y = ModuleWeights([a], [b], [OUT]), torch.zeros(len(SCATTERED), OUT)
    weights.read_stale()
    add_products(weights, StepRows(np.array(SCATTERED)), y, x, 1.0)
    return y


@pytest.mark.parametrize("poisoned", ["row", "a", "b"])
def test_a_broken_row_or_adapter_reaches_no_other(add_products: AddProducts, poisoned: str) -> None:
    a, b = stacks()
    x = torch.randn(len(SCATTERED), IN)
    expected = added(add_products, a, b, x)
    if poisoned == "row":
        x[0] = torch.inf
    elif poisoned == "a":
        a[0] = torch.nan
    else:
        b[0] = torch.inf
    given = added(add_products, a, b, x)
    touched = [row for row in range(len(SCATTERED)) if not torch.equal(given[row], expected[row])]
    assert touched == ([0] if poisoned == "row" else [0, 4, 6])
    assert given[touched].isnan().any(dim=1).all()


def test_an_unused_slot_between_used_ones_adds_nothing_even_if_broken(add_products: AddProducts) -> None:
    a, b = stacks()
    x = torch.randn(len(SCATTERED), IN)
    expected = added(add_products, a, b, x)
    a[2], b[2] = torch.nan, torch.inf
    assert torch.equal(added(add_products, a, b, x), expected)


def test_a_row_of_no_slot_may_hold_anything(add_products: AddProducts) -> None:
    a, b = stacks()
    x = torch.randn(len(SCATTERED), IN)
    x[2] = torch.nan
    assert added(add_products, a, b, x).isfinite().all()
