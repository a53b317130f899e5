from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from crma_server.vllm_punica_slots import NO_SLOT, SlotRanks, group_rows, record_activations


@given(st.lists(st.integers(NO_SLOT, 3), min_size=1, max_size=20))
def test_groups_hold_every_row_with_a_slot_once(slots: list[int]) -> None:
    found = {}
    for group in group_rows(np.array(slots)):
        for row in torch.arange(len(slots))[group.rows].tolist():
            assert row not in found
            found[row] = group.slot
    assert found == {row: slot for row, slot in enumerate(slots) if slot != NO_SLOT}


def test_consecutive_rows_are_a_slice() -> None:
    [first, second] = group_rows(np.array([NO_SLOT, 2, 2, 0, 2][:4]))
    assert (first.slot, first.rows, second.slot, second.rows) == (0, slice(3, 4), 2, slice(1, 3))


def test_rank_in_use_ends_at_the_last_column_that_adds_anything() -> None:
    ranks, stacked_b = SlotRanks(), torch.zeros(2, 1, 5, 8)
    stacked_b[0, 0, 3, 2] = -1.0
    ranks.record(stacked_b, 0)
    ranks.record(stacked_b, 1)
    assert (ranks.rank(stacked_b, 0), ranks.rank(stacked_b, 1)) == (3, 0)


def test_unrecorded_slot_counts_as_whole() -> None:
    assert SlotRanks().rank(torch.zeros(2, 1, 5, 8), 1) == 8


class Manager:
    """vLLM's manager as far as it matters here: it writes an adapter's B into the next slot of each layer."""

    def __init__(self, layer: Any, adapters: dict[int, float]) -> None:
        self.modules = {"layer": layer}
        self.adapters = adapters
        self.lora_index_to_id: list[int | None] = [None, None]

    def activate_adapter(self, lora_id: int) -> bool:
        if lora_id in self.lora_index_to_id:
            return False
        slot = self.lora_index_to_id.index(None)
        self.lora_index_to_id[slot] = lora_id
        self.modules["layer"].lora_b_stacked[0][slot] = self.adapters[lora_id]
        return True


def test_every_written_slot_is_recorded_also_when_reloaded_in_place() -> None:
    stacked_b, ranks = torch.zeros(2, 1, 5, 8), SlotRanks()
    layer = SimpleNamespace(lora_b_stacked=(stacked_b,), punica_wrapper=SimpleNamespace(ranks=ranks))
    record_activations(Manager)
    record_activations(Manager)  # vLLM builds several wrappers: the second must not wrap again
    manager = Manager(layer, {1: 0.0, 2: 1.0})
    assert manager.activate_adapter(1) and manager.activate_adapter(2) and not manager.activate_adapter(2)
    assert (ranks.rank(stacked_b, 0), ranks.rank(stacked_b, 1)) == (0, 8)
    manager.adapters[1] = 1.0
    manager.lora_index_to_id[0] = None
    manager.activate_adapter(1)
    assert ranks.rank(stacked_b, 0) == 8
