"""The CPU kernel's products in C, where the machine has a compiler: `lora_kernel.c`, one call per module.

Owns: the structs that it reads, and which tensors it can take. What it cannot take, and everything where
there is no compiler, goes through PyTorch (`products`), whose results differ in the last bits.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from crma_server.engine.vllm.cpu import products
from crma_server.engine.vllm.cpu.build import Kernel
from crma_server.engine.vllm.cpu.slots import NO_SLOT, SlotArray, StepRows
from crma_server.engine.vllm.cpu.weights import ModuleWeights

# Rows that share each read of the weights: ROWS of lora_kernel.c.
BLOCK = 4

_TYPES = (torch.float32, torch.bfloat16)
int64_p = ctypes.POINTER(ctypes.c_int64)


class _Module(ctypes.Structure):
    """module_t of lora_kernel.c."""

    _fields_ = (
        ("in", ctypes.c_int64), ("width", ctypes.c_int64), ("slices", ctypes.c_int64),
        ("a", ctypes.c_void_p), ("b", ctypes.POINTER(ctypes.c_void_p)),
        ("rank", int64_p), ("out", int64_p), ("column", int64_p),
    )  # fmt: skip


class _Layout(ctypes.Structure):
    """layout_t of lora_kernel.c."""

    _fields_ = (
        ("rows", ctypes.c_int64), ("blocks", ctypes.c_int64),
        ("row", int64_p), ("first", int64_p), ("count", int64_p), ("slot", int64_p),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Struct:
    """A struct's address, and what must live as long as it."""

    address: int
    holds: tuple[object, ...]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Rows with a slot, each once, in blocks of up to `BLOCK` rows of one slot.

    rows: places in the step, slot by slot. blocks: each one's first place in `rows`, its size, its slot.
    struct: the same for the kernel; None where there are none.
    """

    rows: list[int]
    blocks: list[tuple[int, int, int]]
    struct: Struct | None


def add_products(
    kernel: Kernel, weights: ModuleWeights, rows: StepRows, y: torch.Tensor, x: torch.Tensor, scale: float
) -> None:
    """As `products.add_products`."""
    if x.dtype is not y.dtype or x.dtype not in _TYPES or x.stride(-1) != 1 or y.stride(-1) != 1:
        products.add_products(weights, rows, y, x, scale)
        return
    blocks = rows.lay_out(weights.targeting, block_rows).struct
    if blocks is None:
        return
    module = weights.kept
    if not isinstance(module, Struct):
        module = weights.kept = _module(weights)
    if kernel.add(
        module.address, blocks.address, y.data_ptr(), y.stride(0), x.data_ptr(), x.stride(0),
        x.dtype is torch.bfloat16, scale,
    ):  # fmt: skip
        raise MemoryError(f"no memory for what {rows.count} rows of LoRA need in between")


def block_rows(slots: SlotArray) -> Blocks:
    """Lay out rows by their slots (T,); rows with NO_SLOT are in no block."""
    blocks: list[tuple[int, int, int]] = []
    row: list[int] = []
    for slot in sorted(set(slots.tolist()) - {NO_SLOT}):
        own = np.flatnonzero(slots == slot).tolist()
        blocks += [(len(row) + at, min(BLOCK, len(own) - at), slot) for at in range(0, len(own), BLOCK)]
        row += own
    if not row:
        return Blocks(row, blocks, None)
    arrays = [integers(values) for values in (row, *zip(*blocks, strict=True))]
    layout = _Layout(len(row), len(blocks), *(array.ctypes.data_as(int64_p) for array in arrays))
    return Blocks(row, blocks, Struct(ctypes.addressof(layout), (layout, arrays)))


def _module(weights: ModuleWeights) -> Struct:
    sizes = [integers(values) for values in (weights.ranks, [b.size(2) for b in weights.b], weights.columns)]
    pointers = (ctypes.c_void_p * len(weights.b))(*(b.data_ptr() for b in weights.b))
    _, width, in_size = weights.packed_a.shape
    module = _Module(
        in_size, width, len(weights.b), weights.packed_a.data_ptr(),
        ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p)),
        *(array.ctypes.data_as(int64_p) for array in sizes),
    )  # fmt: skip
    return Struct(ctypes.addressof(module), (module, pointers, sizes, weights.packed_a, weights.b))


def integers(values: Sequence[int]) -> SlotArray:
    return np.array(values, dtype=np.int64)
