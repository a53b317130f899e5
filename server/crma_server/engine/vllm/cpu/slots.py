"""Which rows of a step belong to which adapter slot, laid out for as few products as possible.

Owns: `StepRows`, the rows of one step, and the `Plan` of them for PyTorch's products. Does not know what is
computed with them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch

NO_SLOT = -1
# Consecutive rows of one slot from which on a product of their own costs less than gathering them.
LONG_RUN = 16
# Unused slots between used ones that a batched product may read: one costs less than a further product.
MAX_GAP = 1

Laid = TypeVar("Laid")
SlotArray = np.ndarray[Any, np.dtype[np.int64]]
Rows = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class Run:
    """Consecutive rows that use one slot."""

    slot: int
    first: int
    count: int


@dataclass(frozen=True)
class Batch:
    """Scattered rows of consecutive slots: the same number for each slot, filled up with rows named twice.

    `rows`: (slots x m,) int64, slot by slot. `padding`: (slots, m, 1) bool, true where a row only fills up,
    None where none does. What is added for such a row must be zero.
    """

    first_slot: int
    slots: int
    rows: torch.Tensor
    padding: torch.Tensor | None


@dataclass(frozen=True)
class Plan:
    """Every row with a slot, once: in a run or in a batch."""

    runs: tuple[Run, ...] = ()
    batches: tuple[Batch, ...] = ()


class StepRows:
    """The slots (T,) int64 of a step's rows, and how they are laid out: once per step and set of slots."""

    def __init__(self, slots: SlotArray) -> None:
        self.count = len(slots)
        self.in_use = slot_set(set(slots.tolist()) - {NO_SLOT})
        self._slots = slots
        self._laid: dict[tuple[int, Any], Any] = {}

    def lay_out(self, targeting: int, how: Callable[[SlotArray], Laid]) -> Laid:
        """`how` of the rows for a module that the adapters in the slots `targeting` (a `slot_set`) target."""
        wanted = self.in_use & targeting
        laid: Laid | None = self._laid.get((wanted, how))
        if laid is None:
            laid = self._laid[wanted, how] = how(self._of(wanted))
        return laid

    def by_slot(self) -> list[tuple[int, torch.Tensor]]:
        """Each slot in use with its rows (n,) int64."""
        used = [slot for slot in range(self.in_use.bit_length()) if self.in_use >> slot & 1]
        return [(slot, torch.from_numpy(np.flatnonzero(self._slots == slot))) for slot in used]

    def _of(self, wanted: int) -> SlotArray:
        if wanted == self.in_use:
            return self._slots
        kept = [slot for slot in range(wanted.bit_length()) if wanted >> slot & 1]
        return np.where(np.isin(self._slots, kept), self._slots, NO_SLOT)


def slot_set(slots: set[int]) -> int:
    """A set of slots as the bits of an int, which is quick to intersect and to look up."""
    return sum(1 << slot for slot in slots)


def plan_rows(slots: SlotArray) -> Plan:
    """Lay out rows by their slots (T,); rows with NO_SLOT are in nothing."""
    ends = [0, *(np.flatnonzero(np.diff(slots)) + 1).tolist(), len(slots)]
    runs = [
        Run(slot, first, end - first)
        for first, end in pairwise(ends)
        if end > first and (slot := int(slots[first])) != NO_SLOT
    ]
    if len(runs) <= 2:
        return Plan(tuple(runs))
    scattered: dict[int, list[int]] = {}
    for run in runs:
        if run.count < LONG_RUN:
            scattered.setdefault(run.slot, []).extend(range(run.first, run.first + run.count))
    return Plan(tuple(run for run in runs if run.count >= LONG_RUN), tuple(_batches(scattered)))


def _batches(rows_of: dict[int, list[int]]) -> list[Batch]:
    """A batch for each stretch of slots; a slot of many rows alone, as others would be filled up to it."""
    alone = [slot for slot, rows in rows_of.items() if len(rows) >= LONG_RUN]
    together = sorted(rows_of.keys() - set(alone))
    stretches: list[list[int]] = []
    for slot in together:
        if stretches and slot - stretches[-1][-1] <= MAX_GAP + 1:
            stretches[-1].append(slot)
        else:
            stretches.append([slot])
    return [_batch(slots, rows_of) for slots in [*([slot] for slot in alone), *stretches]]


def _batch(slots: list[int], rows_of: dict[int, list[int]]) -> Batch:
    first, count = slots[0], slots[-1] - slots[0] + 1
    height = max(len(rows_of[slot]) for slot in slots)
    # Filled up with a row of the batch, so that no other row is written to.
    rows = np.full((count, height), rows_of[first][0], dtype=np.int64)
    padding = np.ones((count, height, 1), dtype=np.bool_)
    for slot in slots:
        own = rows_of[slot]
        rows[slot - first] = own[0]
        rows[slot - first, : len(own)] = own
        padding[slot - first, : len(own)] = False
    return Batch(
        first,
        count,
        torch.from_numpy(rows.reshape(-1)),
        torch.from_numpy(padding) if padding.any() else None,
    )
