"""What must not reach a neighbour: overflow, infinities, rows that only fill a batch up."""

import numpy as np
import pytest
import torch

from crma_server.vllm_punica_products import add_products
from crma_server.vllm_punica_slots import NO_SLOT, plan_rows
from crma_server.vllm_punica_weights import ModuleWeights

SLOTS, RANK, IN, OUT = 4, 2, 6, 5
SCATTERED = [0, 1, NO_SLOT, 3, 0, 1, 0]


def stacks() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(SLOTS, 1, RANK, IN, generator=generator)
    return a, torch.randn(SLOTS, 1, OUT, RANK, generator=generator)


def added(a: torch.Tensor, b: torch.Tensor, x: torch.Tensor, slots: list[int]) -> torch.Tensor:
    weights, y = ModuleWeights([a], [b], [OUT]), torch.zeros(len(slots), OUT)
    weights.read_stale()
    add_products(weights, plan_rows(np.array(slots)), y, x, 1.0)
    return y


@pytest.mark.parametrize("poisoned", ["row", "a", "b"])
def test_a_broken_row_or_adapter_reaches_no_other(poisoned: str) -> None:
    a, b = stacks()
    x = torch.randn(len(SCATTERED), IN)
    expected = added(a, b, x, SCATTERED)
    if poisoned == "row":
        x[0] = torch.inf
    elif poisoned == "a":
        a[0] = torch.nan
    else:
        b[0] = torch.inf
    given = added(a, b, x, SCATTERED)
    touched = [row for row in range(len(SCATTERED)) if not torch.equal(given[row], expected[row])]
    assert touched == ([0] if poisoned == "row" else [0, 4, 6])
    assert given[touched].isnan().any(dim=1).all()


def test_an_unused_slot_between_used_ones_adds_nothing_even_if_broken() -> None:
    a, b = stacks()
    x = torch.randn(len(SCATTERED), IN)
    expected = added(a, b, x, SCATTERED)
    a[2], b[2] = torch.nan, torch.inf
    assert torch.equal(added(a, b, x, SCATTERED), expected)


def test_a_row_of_no_slot_may_hold_anything() -> None:
    a, b = stacks()
    x = torch.randn(len(SCATTERED), IN)
    x[2] = torch.nan
    assert added(a, b, x, SCATTERED).isfinite().all()
