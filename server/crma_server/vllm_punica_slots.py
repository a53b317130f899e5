"""Which rows of a step belong to which adapter slot, and how much of a slot each module uses.

Owns: the grouping of rows by slot, and the record of each stacked tensor's rank in use, slot by slot.
Does not know what is computed with them.
"""

from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import torch

NO_SLOT = -1


@dataclass(frozen=True)
class RowGroup:
    """The rows of a step that use one slot: a slice if consecutive, else their (n,) int64 indices."""

    slot: int
    rows: slice | torch.Tensor


def group_rows(slots: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[RowGroup, ...]:
    """Group rows by their slots (T,); rows with NO_SLOT are in no group."""
    return tuple(
        RowGroup(int(slot), _slice_or_indices(np.flatnonzero(slots == slot)))
        for slot in np.unique(slots)
        if slot != NO_SLOT
    )


def _slice_or_indices(rows: np.ndarray[Any, np.dtype[np.intp]]) -> slice | torch.Tensor:
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows):
        return slice(first, last + 1)
    return torch.from_numpy(rows)


class SlotRanks:
    """Per module and slot, the rank in use: 0 where the slot's adapter does not touch the module.

    Modules are told apart by the address of their stacked B, which vLLM allocates once and writes in place.
    """

    def __init__(self) -> None:
        self._ranks: dict[tuple[int, int], int] = {}

    def record(self, stacked_b: torch.Tensor, slot: int) -> None:
        """Read the rank in use off a slot just written. `stacked_b`: (slots, 1, out, max_rank)."""
        columns = stacked_b[slot].flatten(0, -2).any(dim=0).nonzero()
        self._ranks[stacked_b.data_ptr(), slot] = int(columns[-1]) + 1 if len(columns) else 0

    def rank(self, stacked_b: torch.Tensor, slot: int) -> int:
        """The rank in use, or the whole allocated one if the slot was never recorded."""
        return self._ranks.get((stacked_b.data_ptr(), slot), stacked_b.size(-1))


def record_activations(manager_class: Any) -> None:
    """Have vLLM's LoRA manager tell each layer's kernel wrapper of every slot it writes. Idempotent.

    vLLM has no hook for this. `activate_adapter` is the only place that writes adapters into slots, and a
    changed adapter in the same slot under the same id (a reload in place) shows nowhere else.
    """
    activate = manager_class.activate_adapter
    if hasattr(activate, "records_slots"):
        return

    @wraps(activate)
    def activate_and_record(manager: Any, lora_id: int) -> bool:
        activated: bool = activate(manager, lora_id)
        if activated:
            slot = manager.lora_index_to_id.index(lora_id)
            for layer in manager.modules.values():
                for stacked_b in _stacked_b(layer):
                    layer.punica_wrapper.ranks.record(stacked_b, slot)
        return activated

    activate_and_record.records_slots = True  # type: ignore[attr-defined]
    manager_class.activate_adapter = activate_and_record


def _stacked_b(layer: Any) -> tuple[torch.Tensor, ...]:
    stacked: torch.Tensor | tuple[torch.Tensor, ...] = getattr(layer, "lora_b_stacked", ())
    return (stacked,) if isinstance(stacked, torch.Tensor) else tuple(stacked)
