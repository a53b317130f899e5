"""The rows of a step by adapter slot, laid out for as few products as possible, and those products with
PyTorch's own operators: y += scale * x A^T B^T."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch

from crma_server.engine.vllm.cpu.weights import ModuleWeights, slot_set

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


def add_products(
    weights: ModuleWeights, rows: StepRows, y: torch.Tensor, x: torch.Tensor, scale: float
) -> None:
    """Add to y (T, out), in place, what the rows of x (T, in) give. Those without a slot are not touched."""
    plan = rows.lay_out(weights.targeting, plan_rows)
    outputs = weights.outputs(y)
    for run in plan.runs:
        _add_run(weights, run, outputs, x, scale)
    for batch in plan.batches:
        _add_batch(weights, batch, outputs, x, scale)


def _add_run(
    weights: ModuleWeights, run: Run, outputs: Sequence[torch.Tensor], x: torch.Tensor, scale: float
) -> None:
    if run.count != x.size(0):
        x = x.narrow(0, run.first, run.count)
        outputs = [output.narrow(0, run.first, run.count) for output in outputs]
    shrunk = _parts(torch.mm(x.float(), weights.a_of[run.slot]), weights.ranks, 1)
    for output, part, b in zip(outputs, shrunk, weights.b_of[run.slot], strict=True):
        if output.dtype is torch.float32:
            output.addmm_(part, b, alpha=scale)
        else:
            output.add_(torch.mm(part, b).mul_(scale).to(output.dtype))


def _add_batch(
    weights: ModuleWeights, batch: Batch, outputs: Sequence[torch.Tensor], x: torch.Tensor, scale: float
) -> None:
    rows = x.index_select(0, batch.rows).float().view(batch.slots, -1, x.size(1))
    shrunk = torch.bmm(rows, weights.a.narrow(0, batch.first_slot, batch.slots))
    if batch.padding is not None:
        shrunk.masked_fill_(batch.padding, 0)
    if scale != 1:
        shrunk.mul_(scale)
    for output, part, b in zip(outputs, _parts(shrunk, weights.ranks, 2), weights.b, strict=True):
        added = torch.bmm(part, b.narrow(0, batch.first_slot, batch.slots))
        output.index_add_(0, batch.rows, added.view(-1, output.size(1)).to(output.dtype))


def _parts(shrunk: torch.Tensor, ranks: list[int], dim: int) -> Sequence[torch.Tensor]:
    """x A^T of each slice."""
    return shrunk.split_with_sizes(ranks, dim) if len(ranks) > 1 else (shrunk,)
