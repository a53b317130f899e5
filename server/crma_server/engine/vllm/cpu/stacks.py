"""What vLLM wrote into the slots of one module, and how it is read into packed tensors.

Owns: reading with PyTorch. Where the machine has a compiler, `native_stacks` does the same in two
calls. Does not know when a slot is written, nor who reads what was packed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Packed:
    """A (slots, ranks of all slices, in) float32 and of each slice B (slots, rank, out) float32; `fits`: the
    ranks, 0 for a slice that no adapter targets, which has an empty B.
    """

    fits: tuple[int, ...]
    a: torch.Tensor
    b: tuple[torch.Tensor, ...]


class Stacks:
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
