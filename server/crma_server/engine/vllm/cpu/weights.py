"""What vLLM wrote into the adapter slots of each module, packed in float32 as the CPU kernel reads it.

vLLM keeps a tensor per output slice, as wide as the largest rank allowed. Here a module's slices share one A,
so that x is read once for all of them, and ranks end where the adapters in the slots do.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Packed:
    """A (slots, ranks of all slices, in) float32 and of each slice B (slots, rank, out) float32; `fits`: the
    ranks, 0 for a slice that no adapter targets, which has an empty B.
    """

    fits: tuple[int, ...]
    a: torch.Tensor
    b: tuple[torch.Tensor, ...]


class LoraSlots:
    """A (slots, 1, rank, in) and B (slots, 1, out, rank) of each output slice, as vLLM allocated them.

    `widths`: how many rows of each B are columns of y.
    """

    def __init__(self, a: Sequence[torch.Tensor], b: Sequence[torch.Tensor], widths: Sequence[int]) -> None:
        self.a, self.b, self.widths = tuple(a), tuple(b), tuple(widths)
        self.slots, self.in_size = b[0].size(0), a[0].size(-1)

    def ranks(self, slot: int) -> list[int]:
        """Of each slice the rank up to which B has a column that adds anything."""
        return [_rank_in_use(b[slot, 0]) for b in self.b]

    def copy(self, slot: int, ranks: Sequence[int], to: Packed) -> None:
        """The slot's A and B up to its `ranks`, none of which is above what fits, and zeros beyond."""
        to.a[slot].zero_()
        first = 0
        for a, b, width, rank, fits, down in zip(
            self.a, self.b, self.widths, ranks, to.fits, to.b, strict=True
        ):
            if fits:
                to.a[slot, first : first + rank] = a[slot, 0, :rank]
                up = down[slot].zero_()
                up[:rank] = b[slot, 0, :width, :rank].t()
                if not up.isfinite().all():
                    # Zero times infinity is not zero: such a B would reach the rows that fill up a batch.
                    up.nan_to_num_()
                    to.a[slot, first : first + rank] = torch.nan
            first += fits


def _rank_in_use(b: torch.Tensor) -> int:
    columns = b.any(dim=0).nonzero()
    return int(columns[-1]) + 1 if len(columns) else 0


MakeLoraSlots = Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], Sequence[int]], LoraSlots]


class ModuleWeights:
    """A (slots, ranks of all slices, in) and, for each slice an adapter targets, B (slots, rank, out) and the
    column of y where it begins.

    `stale` holds the slots written since they were last read; `read_stale` reads them. `kept`: what a kernel
    keeps about the packed tensors; gone when they are others.
    """

    def __init__(
        self,
        stacked_a: Sequence[torch.Tensor],
        stacked_b: Sequence[torch.Tensor],
        output_slices: Sequence[int],
        make_slots: MakeLoraSlots = LoraSlots,
    ) -> None:
        # Logits are wider than the head's B where vLLM pads the vocabulary.
        widths = [min(size, b.size(-2)) for size, b in zip(output_slices, stacked_b, strict=True)]
        self._stacks = make_slots(stacked_a, stacked_b, widths)
        self._output_slices = list(output_slices)
        self._in_use = [[0] * len(widths)] * self._stacks.slots
        self.stale = set(range(self._stacks.slots))
        self.targeting = 0
        self._allocate([0] * len(widths))

    def read_stale(self) -> None:
        """Copy the slots written since the last time. Repacks them all where one's rank exceeds what fits."""
        stale, self.stale = self.stale, set()
        for slot in stale:
            self._in_use[slot] = self._stacks.ranks(slot)
        self.targeting = slot_set({slot for slot, ranks in enumerate(self._in_use) if any(ranks)})
        largest = [max(ranks) for ranks in zip(*self._in_use, self._packed.fits, strict=True)]
        if largest != list(self._packed.fits):
            stale = set(range(self._stacks.slots))
            self._allocate(largest)
        for slot in stale:
            self._stacks.copy(slot, self._in_use[slot], self._packed)

    def unreported(self) -> int | None:
        """A slot that holds something else than what was read of it, though nobody said that it was
        written."""
        check = Packed(
            self._packed.fits, torch.zeros_like(self._packed.a), tuple(map(torch.zeros_like, self._packed.b))
        )
        for slot in set(range(self._stacks.slots)) - self.stale:
            ranks = self._stacks.ranks(slot)
            if ranks != self._in_use[slot]:
                return slot
            self._stacks.copy(slot, ranks, check)
            for read, now in zip((self._packed.a, *self._packed.b), (check.a, *check.b), strict=True):
                if not torch.equal(read[slot].view(torch.int32), now[slot].view(torch.int32)):  # NaN too
                    return slot
        return None

    def outputs(self, y: torch.Tensor) -> Sequence[torch.Tensor]:
        """The columns of y (T, out) that each packed B adds to."""
        if self._whole:
            return (y,)
        parts = y.split_with_sizes(self._split, 1)
        return [parts[index] for index in self._parts]

    def _allocate(self, ranks: Sequence[int]) -> None:
        """Room for the ranks. The kernel's views are made here: making one costs as much as using it."""
        slots, widths = self._stacks.slots, self._stacks.widths
        self.kept: object = None
        # Tensors made in inference mode, where a module may be used first, could not be written to outside.
        with torch.inference_mode(False), torch.no_grad():
            self._packed = Packed(
                tuple(ranks),
                torch.zeros(slots, sum(ranks), self._stacks.in_size),
                tuple(torch.zeros(slots, rank, width) for rank, width in zip(ranks, widths, strict=True)),
            )
            self.packed_a = self._packed.a
            self.a = self.packed_a.transpose(1, 2)
            self.a_of = self.a.unbind(0)
            self.ranks = [rank for rank in ranks if rank]
            self.b = [b for b, rank in zip(self._packed.b, ranks, strict=True) if rank]
            self.b_of = list(zip(*(b.unbind(0) for b in self.b), strict=True))
        self.columns = [sum(self._output_slices[:index]) for index, rank in enumerate(ranks) if rank]
        self._split: list[int] = []
        self._parts: list[int] = []
        for size, width, rank in zip(self._output_slices, widths, ranks, strict=True):
            if rank:
                self._parts.append(len(self._split))
            self._split += [width, size - width] if width < size else [size]
        self._whole = len(self._split) == 1


class WeightsByModule:
    """Each module's weights, packed when first asked for.

    Modules are told apart by the address of their first stacked B: vLLM allocates it once, writes in place.
    """

    def __init__(self, make_slots: MakeLoraSlots = LoraSlots) -> None:
        self._make_stacks = make_slots
        self._weights: dict[int, ModuleWeights] = {}

    def of(
        self,
        stacked_a: Sequence[torch.Tensor],
        stacked_b: Sequence[torch.Tensor],
        output_slices: Sequence[int],
    ) -> ModuleWeights:
        """The module's weights, as of now."""
        weights = self.known(stacked_b[0])
        if weights is None:
            weights = ModuleWeights(stacked_a, stacked_b, output_slices, self._make_stacks)
            self._weights[stacked_b[0].data_ptr()] = weights
            weights.read_stale()
        return weights

    def known(self, first_b: torch.Tensor) -> ModuleWeights | None:
        """The same of a module that was asked for before, by its first stacked B; else None."""
        weights = self._weights.get(first_b.data_ptr())
        if weights is not None and weights.stale:
            weights.read_stale()
        return weights

    def check_slots(self) -> None:
        """Read every slot back. Raises `RuntimeError` if one was written by something that did not say so:
        its requests would be answered with the weights it held before."""
        for weights in self._weights.values():
            if (slot := weights.unreported()) is not None:
                raise RuntimeError(
                    f"adapter slot {slot} was written by something else than activate_adapter, which is all "
                    "that crma's kernel hears of; expected the vLLM in deploy/constraints.txt: install that"
                )

    def slot_written(self, layer: Any, slot: int) -> None:
        """Have vLLM's LoRA layer read a slot again when it is next used.

        A linear layer is known from then on; another one, whose outputs only its caller knows, once used.
        """
        stacked_b = _stack(layer.lora_b_stacked)
        if weights := self._weights.get(stacked_b[0].data_ptr()):
            weights.stale.add(slot)
        elif output_slices := getattr(layer, "output_slices", None):
            self.of(_stack(layer.lora_a_stacked), stacked_b, output_slices)


def slot_set(slots: set[int]) -> int:
    """A set of slots as the bits of an int, which is quick to intersect and to look up."""
    return sum(1 << slot for slot in slots)


def report_activations(manager_class: Any) -> None:
    """Have vLLM's LoRA manager tell each layer's kernel wrapper of every slot it writes. Idempotent.

    vLLM has no hook for this. `activate_adapter` is the only place that writes adapters into slots, and a
    changed adapter in the same slot under the same id (a reload in place) shows nowhere else. That it is the
    only place is not taken on trust: before the 2nd, 4th, 8th ... adapter is written, what was read of all
    slots is held against what they hold, so several times while the first adapters are warmed up.
    """
    activate = manager_class.activate_adapter
    if hasattr(activate, "reports_slots"):
        return
    written: Counter[int] = Counter()

    @wraps(activate)
    def activate_and_report(manager: Any, lora_id: int) -> bool:
        count = written[id(manager)]
        if count and count & (count - 1) == 0:
            _check_slots(manager)
        activated: bool = activate(manager, lora_id)
        if activated:
            written[id(manager)] += 1
            slot = manager.lora_index_to_id.index(lora_id)
            for layer in manager.modules.values():
                if hasattr(layer, "lora_b_stacked"):
                    layer.punica_wrapper.weights.slot_written(layer, slot)
        return activated

    activate_and_report.reports_slots = True  # type: ignore[attr-defined]
    manager_class.activate_adapter = activate_and_report


def _check_slots(manager: Any) -> None:
    layers = [layer for layer in manager.modules.values() if hasattr(layer, "lora_b_stacked")]
    for wrapper in {id(layer.punica_wrapper): layer.punica_wrapper for layer in layers}.values():
        wrapper.weights.check_slots()


def _stack(stacked: torch.Tensor | Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return (stacked,) if isinstance(stacked, torch.Tensor) else tuple(stacked)
