"""The CPU kernel in C, compiled once for this machine: `lora_kernel.c` to functions.

Owns: the compiler, its flags, and where the library is kept. Knows nothing of what they are given.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import torch

from crma_adapters.models.cache import cache_dir, make_once


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
