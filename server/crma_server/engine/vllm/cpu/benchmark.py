"""How long the CPU kernel takes for a step's LoRA work, beside vLLM's own kernel and one read of the weights.

    python -m crma_server.engine.vllm.cpu.benchmark --layers 30 --repeats 5

Writes one JSON object to standard output; eval/reports/kernel.md was made from it. Times are CPU time of one
thread, in milliseconds per step over all layers; the ways of a case take turns, so that whatever else the
machine does meets them alike.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import torch
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from crma_server.engine.vllm.cpu.native import lora_slots_of, native_kernel
from crma_server.engine.vllm.cpu.punica import GroupedPunicaWrapper
from crma_server.engine.vllm.cpu.weights import LoraSlots, Packed

# SmolLM2-135M: (in, output slices) of qkv, o, gate and up, down, and the residual mixer.
MODULES: tuple[tuple[int, tuple[int, ...]], ...] = (
    (576, (576, 192, 192)),
    (576, (576,)),
    (576, (1536, 1536)),
    (1536, (576,)),
    (576, (576,)),
)
RANKS = (8, 64)
PREFILL = 512
FIRST_ID = 100
# What takes longer is not repeated: vLLM's own kernel takes most of a minute for a long prompt at rank 64.
LONG_S = 5.0


@dataclass(frozen=True)
class Case:
    """`rows` of a step, dealt out to `slots` slots in turn (decode) or in stretches (prefill)."""

    phase: str
    rows: int
    slots: int
    rank: int

    def slot_of_rows(self) -> list[int]:
        if self.phase == "decode":
            return [row % self.slots for row in range(self.rows)]
        return [row * self.slots // self.rows for row in range(self.rows)]


@dataclass(frozen=True)
class Timing:
    """A case and the median milliseconds of each way; `bound` is one read of the weights in use."""

    case: Case
    ms: dict[str, float]


@dataclass(frozen=True)
class Module:
    """One LoRA layer's stacked tensors, as vLLM allocates them."""

    a: tuple[torch.Tensor, ...]
    b: tuple[torch.Tensor, ...]
    slices: tuple[int, ...]


def cases() -> Iterator[Case]:
    for rank in RANKS:
        for slots in (1, 5, 8, 32):
            for rows in (1, 8, 32):
                if rows >= slots:
                    yield Case("decode", rows, slots, rank)
            yield Case("prefill", PREFILL, slots, rank)


def measure(case: Case, layers: int, repeats: int) -> Timing:
    """Time every way, in turns."""
    modules = _modules(layers, case.slots, case.rank)
    x = {width: torch.randn(case.rows, width) for width, _ in MODULES}
    y = {slices: torch.zeros(case.rows, sum(slices)) for _, slices in MODULES}
    used = case.slot_of_rows()

    def step(wrapper: PunicaWrapperCPU) -> None:
        for module in modules:
            x_of = x[module.a[0].size(-1)]
            wrapper.add_lora_linear(y[module.slices], x_of, module.a, module.b, 1.0, module.slices)

    def read() -> None:
        for module in modules:
            for stack in (*module.a, *module.b):
                stack.sum()

    ours, theirs = (_wrapper(kind, used) for kind in (GroupedPunicaWrapper, PunicaWrapperCPU))
    for module in modules:  # read once for many steps: no step's work
        ours.weights.of(module.a, module.b, module.slices)
    idle = _wrapper(GroupedPunicaWrapper, [None] * case.rows)
    ways = {
        "bound": read,
        "idle": lambda: step(idle),
        "crma": lambda: step(ours),
        "vllm": lambda: step(theirs),
    }
    return Timing(case, _in_turns(ways, repeats))


def measure_reading(rank: int, layers: int, repeats: int) -> dict[str, float]:
    """Milliseconds for reading one slot of every module, once an adapter was written into it: with PyTorch's
    operators, and in C where this machine has a compiler."""
    modules = _modules(layers, 1, rank)
    packed = [
        Packed(
            (rank,) * len(module.slices),
            torch.zeros(1, rank * len(module.slices), module.a[0].size(-1)),
            tuple(torch.zeros(1, rank, width) for width in module.slices),
        )
        for module in modules
    ]

    def reading(stacks: Sequence[LoraSlots]) -> Callable[[], None]:
        def read() -> None:
            for own, to in zip(stacks, packed, strict=True):
                own.copy(0, own.ranks(0), to)

        return read

    ways = {"torch": reading([LoraSlots(module.a, module.b, module.slices) for module in modules])}
    if (kernel := native_kernel()) is not None:
        in_c = [lora_slots_of(kernel, module.a, module.b, module.slices) for module in modules]
        ways["c"] = reading(in_c)
    return _in_turns(ways, repeats)


def _modules(layers: int, slots: int, rank: int) -> list[Module]:
    """With random weights."""
    return [
        Module(
            tuple(torch.randn(slots, 1, rank, width) for _ in slices),
            tuple(torch.randn(slots, 1, out, rank) for out in slices),
            slices,
        )
        for _ in range(layers)
        for width, slices in MODULES
    ]


def _in_turns(ways: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            if taken[name] and taken[name][0] > LONG_S:
                continue
            start = time.thread_time()
            way()
            taken[name].append(time.thread_time() - start)
    # The first round fills caches.
    return {name: 1000 * median(times[1:] or times) for name, times in taken.items()}


def _wrapper(kind: type[PunicaWrapperCPU], slots: list[int] | list[None]) -> PunicaWrapperCPU:
    wrapper = kind(max(64, len(slots)), 64, torch.device("cpu"))
    ids = tuple(0 if slot is None else slot + FIRST_ID for slot in slots)
    count = max((slot for slot in slots if slot is not None), default=0) + 1
    mapping = LoRAMapping(ids, ids, is_prefill=True)
    wrapper.update_metadata(mapping, [slot + FIRST_ID for slot in range(count)], count + 1, 49152)
    return wrapper


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps = []
    with torch.inference_mode():
        for case in cases():
            steps.append(asdict(measure(case, args.layers, args.repeats)))
            print(steps[-1], file=sys.stderr)
        reading = [{"rank": rank, "ms": measure_reading(rank, args.layers, args.repeats)} for rank in RANKS]
    print(json.dumps({"steps": steps, "reading": reading}))


if __name__ == "__main__":
    main()
