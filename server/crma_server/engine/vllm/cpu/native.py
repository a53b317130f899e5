"""The CPU kernel in C (`lora_kernel.c`), compiled once for this machine: products, and reading slots. What it
cannot take goes through PyTorch (`products`)."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from crma_adapters.models.cache import cache_dir, make_once
from crma_server.engine.vllm.cpu import products
from crma_server.engine.vllm.cpu.products import NO_SLOT, SlotArray, StepRows
from crma_server.engine.vllm.cpu.weights import LoraSlots, ModuleWeights, Packed


@dataclass(frozen=True)
class Kernel:
    """The functions of the library: what they take stands in lora_kernel.c."""

    add: Callable[..., int]
    ranks: Callable[..., None]
    copy: Callable[..., None]


SOURCE = "lora_kernel.c"
# Multiplication and addition are fused everywhere or nowhere: GCC, tuning for some processors, would do it in
# some loops, and a row's last bits would hang on its neighbours. The first flags that a compiler takes count.
_FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-fPIC", "-shared")
_GCC = "--param=avoid-fma-max-bits=0"
_BEST_FLAGS = (("-march=native", "-fopenmp", _GCC), ("-march=native", "-fopenmp"), ("-march=native",), ())
_COMPILE_S = 60.0


def native_kernel() -> Kernel | None:
    """The kernel, compiled once for a machine; None where no compiler takes it, or `CC` is set to nothing."""
    return _kernel(os.environ.get("CC", "cc"))


@cache
def _kernel(compiler: str) -> Kernel | None:
    path = shutil.which(compiler.split()[0]) if compiler.strip() else None
    library = _compiled([path, *compiler.split()[1:]]) if path else None
    if library is None:
        print(
            f"crma: no C compiler ({compiler!r}): LoRA is computed with PyTorch, which takes several times "
            "as long on a CPU; install gcc or clang, or name one in CC",
            file=sys.stderr,
        )  # fmt: skip
        return None
    functions = ctypes.CDLL(str(library))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    functions.crma_add_lora.argtypes = (
        pointer, pointer, pointer, number, pointer, number, ctypes.c_int, ctypes.c_float,
    )  # fmt: skip
    functions.crma_add_lora.restype = ctypes.c_int
    for reading in (functions.crma_ranks, functions.crma_copy):
        reading.argtypes, reading.restype = (pointer, number, pointer), None
    return Kernel(functions.crma_add_lora, functions.crma_ranks, functions.crma_copy)


def _compiled(command: list[str]) -> Path | None:
    """The library in the cache, named after everything that it hangs on; None if nothing compiles it."""
    source = files("crma_server.engine.vllm.cpu").joinpath(SOURCE).read_bytes()
    facts = "\0".join([*command, *_FLAGS, *map(str, _BEST_FLAGS), _processor()])
    name = sha256(source + facts.encode()).hexdigest()[:16]

    def fill(folder: Path) -> None:
        (folder / SOURCE).write_bytes(source)
        if not any(
            _runs([*command, *_FLAGS, *flags, SOURCE, "-o", "kernel.so"], folder) for flags in _BEST_FLAGS
        ):
            raise _NotCompiledError

    try:
        return make_once(cache_dir("kernels", name), fill) / "kernel.so"
    except (_NotCompiledError, OSError):
        return None


class _NotCompiledError(Exception):
    pass


def _runs(command: Iterable[str], folder: Path) -> bool:
    try:
        done = subprocess.run(list(command), cwd=folder, capture_output=True, timeout=_COMPILE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _processor() -> str:
    """What the compiler may make use of: a cache may be shared by machines."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return torch.backends.cpu.get_cpu_capability()
    return "\n".join(
        sorted({line for line in text.splitlines() if line.startswith(("flags", "Features", "model name"))})
    )


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


class _Reading(ctypes.Structure):
    """reading_t of lora_kernel.c."""

    _fields_ = (
        ("slices", ctypes.c_int64), ("in", ctypes.c_int64), ("width", ctypes.c_int64),
        ("rank", ctypes.c_int64), ("bf16", ctypes.c_int64),
        ("a", ctypes.POINTER(ctypes.c_void_p)), ("b", ctypes.POINTER(ctypes.c_void_p)),
        ("rows", int64_p), ("out", int64_p), ("fits", int64_p),
        ("packed_a", ctypes.c_void_p), ("packed_b", ctypes.POINTER(ctypes.c_void_p)),
    )  # fmt: skip


def lora_slots_of(
    kernel: Kernel, a: Sequence[torch.Tensor], b: Sequence[torch.Tensor], widths: Sequence[int]
) -> LoraSlots:
    """The stacks, read in C if it can take them."""
    one, both = a[0], (*a, *b)
    alike = all(stack.dtype is one.dtype and stack.is_contiguous() for stack in both)
    ranks = {*(stack.size(-2) for stack in a), *(stack.size(-1) for stack in b)}
    if one.dtype in _TYPES and alike and len(ranks) == 1:
        return NativeLoraSlots(kernel, a, b, widths)
    return LoraSlots(a, b, widths)


class NativeLoraSlots(LoraSlots):
    """As `LoraSlots`, of contiguous tensors in float32 or bfloat16 with one largest rank."""

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
