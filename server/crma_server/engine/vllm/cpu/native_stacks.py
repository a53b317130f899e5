"""Reading the slots of a module in C: a fifth of a millisecond for each module with PyTorch's operators is a
wait of fifty for every adapter that gets a slot.

Owns: the struct that `lora_kernel.c` reads, and which tensors it can take; others are read with PyTorch.
"""

import ctypes
from collections.abc import Sequence

import torch

from crma_server.engine.vllm.cpu.build import Kernel
from crma_server.engine.vllm.cpu.native import Struct, int64_p, integers
from crma_server.engine.vllm.cpu.stacks import Packed, Stacks

_TYPES = (torch.float32, torch.bfloat16)


class _Reading(ctypes.Structure):
    """reading_t of lora_kernel.c."""

    _fields_ = (
        ("slices", ctypes.c_int64), ("in", ctypes.c_int64), ("width", ctypes.c_int64),
        ("rank", ctypes.c_int64), ("bf16", ctypes.c_int64),
        ("a", ctypes.POINTER(ctypes.c_void_p)), ("b", ctypes.POINTER(ctypes.c_void_p)),
        ("rows", int64_p), ("out", int64_p), ("fits", int64_p),
        ("packed_a", ctypes.c_void_p), ("packed_b", ctypes.POINTER(ctypes.c_void_p)),
    )  # fmt: skip


def stacks_of(
    kernel: Kernel, a: Sequence[torch.Tensor], b: Sequence[torch.Tensor], widths: Sequence[int]
) -> Stacks:
    """The stacks, read in C if it can take them."""
    one, both = a[0], (*a, *b)
    alike = all(stack.dtype is one.dtype and stack.is_contiguous() for stack in both)
    ranks = {*(stack.size(-2) for stack in a), *(stack.size(-1) for stack in b)}
    if one.dtype in _TYPES and alike and len(ranks) == 1:
        return NativeStacks(kernel, a, b, widths)
    return Stacks(a, b, widths)


class NativeStacks(Stacks):
    """As `Stacks`, of contiguous tensors in float32 or bfloat16 with one largest rank."""

    def __init__(
        self, kernel: Kernel, a: Sequence[torch.Tensor], b: Sequence[torch.Tensor], widths: Sequence[int]
    ) -> None:
        super().__init__(a, b, widths)
        self._kernel = kernel
        self._used = (ctypes.c_int64 * len(self.b))()
        self._struct = self._reading(None)
        self._of: Packed | None = None

    def ranks(self, slot: int) -> list[int]:
        self._kernel.ranks(self._struct.address, slot, self._used)
        return list(self._used)

    def copy(self, slot: int, ranks: Sequence[int], to: Packed) -> None:
        if self._of is not to:
            self._struct, self._of = self._reading(to), to
        self._used[:] = list(ranks)
        self._kernel.copy(self._struct.address, slot, self._used)

    def _reading(self, to: Packed | None) -> Struct:
        pointers = [
            (ctypes.c_void_p * len(self.b))(*(tensor.data_ptr() for tensor in tensors))
            for tensors in (self.a, self.b, to.b if to else ())
        ]
        sizes = [
            integers(values)
            for values in ([b.size(-2) for b in self.b], self.widths, to.fits if to else [0] * len(self.b))
        ]
        a, b, packed_b = (ctypes.cast(each, ctypes.POINTER(ctypes.c_void_p)) for each in pointers)
        reading = _Reading(
            len(self.b), self.in_size, to.a.size(1) if to else 0, self.b[0].size(-1),
            self.b[0].dtype is torch.bfloat16, a, b, *(array.ctypes.data_as(int64_p) for array in sizes),
            to.a.data_ptr() if to else None, packed_b,
        )  # fmt: skip
        return Struct(ctypes.addressof(reading), (reading, pointers, sizes, to))
