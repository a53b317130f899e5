"""What layers read on a domain, and the directions in which earlier domains' inputs lie.

Owns: second moments of inputs, their gathering, and the memory of directions as a file. Knows nothing of what
is done with the directions that are left.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crma_training.continual.method import Lesson
from crma_training.lora import DomainLora


@dataclass(frozen=True)
class Inputs:
    """Second moments X Xᵀ / n of layers' inputs (d, d) float32, uncentred, by the first layer that reads
    each; `readers`: all layers that read it (queries and values, for one, read the same).
    """

    moments: dict[str, Tensor]
    readers: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class InputMemory:
    """Orthonormal bases (d, k) of the space that earlier inputs span, by the name of `Inputs`."""

    bases: dict[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> "InputMemory":
        """What `write` wrote."""
        return cls(load_file(str(path)))

    def write(self, path: Path) -> None:
        """Writes a safetensors file."""
        save_file({name: basis.contiguous() for name, basis in self.bases.items()}, str(path))

    def free_directions(self, name: str, moment: Tensor, count: int) -> Tensor:
        """The `count` principal directions of inputs outside the memory, (d, count), orthonormal; columns are
        zero when no direction is left.
        """
        basis = self._basis(name, moment)
        directions = moment.new_zeros(len(moment), count)
        left = min(count, len(moment) - basis.shape[1])
        _, vectors = _principal(_outside(moment, basis))
        directions[:, :left] = _orthonormal(vectors[:, :left], basis)
        return directions

    def extended(self, inputs: Inputs, threshold: float) -> "InputMemory":
        """The memory with as many directions more as it takes to hold `threshold` of the inputs' energy."""
        return InputMemory(
            {name: self._grown(name, inputs.moments[name], threshold) for name in inputs.moments}
        )

    def _grown(self, name: str, moment: Tensor, threshold: float) -> Tensor:
        basis, total = self._basis(name, moment), moment.trace()
        energies, vectors = _principal(_outside(moment, basis))
        missing = energies.clamp(min=0).sum() - (1 - threshold) * total
        if missing <= 0:
            return basis
        count = int((energies.cumsum(0) < missing).sum()) + 1
        count = min(count, len(moment) - basis.shape[1])
        return torch.cat([basis, _orthonormal(vectors[:, :count], basis)], dim=1)

    def _basis(self, name: str, moment: Tensor) -> Tensor:
        return self.bases[name].to(moment) if name in self.bases else moment.new_zeros(len(moment), 0)


def gather_inputs(lesson: Lesson, lora: DomainLora, rows: int) -> Inputs:
    """What the LoRA's layers read on `rows` training rows of the domain, the same ones at every call.

    Every token weighs the same: its input is scaled to length 1 first. Language models give a few tokens
    inputs thousands of times as long as others (Sun et al. 2024, arXiv:2402.17762), which would be all that
    is remembered.
    """
    bench, task = lesson.bench, lesson.task
    generator = random.Random(f"{bench.config.seed}/{task.name}/inputs")
    examples = generator.sample(task.train, min(rows, len(task.train)))
    bench.model.eval()
    watch = _Watch()
    with torch.no_grad(), _watching(lora, watch):
        for example in examples:
            token_ids = torch.tensor([example.token_ids], device=bench.model.device)
            bench.model.get_decoder()(input_ids=token_ids, use_cache=False)
            watch.last = None
    tokens = sum(len(example.token_ids) for example in examples)
    moments = {name: moment / tokens for name, moment in watch.moments.items()}
    return Inputs(moments, {name: tuple(readers) for name, readers in watch.readers.items()})


class _Watch:
    """Adds up moments; layers called one after another with the same tensor share one."""

    def __init__(self) -> None:
        self.moments: dict[str, Tensor] = {}
        self.readers: dict[str, list[str]] = {}
        self.last: tuple[str, Tensor] | None = None

    def see(self, layer: str, states: Tensor) -> None:
        """`states` (1, t, d) come into the layer."""
        if self.last is not None and self.last[1] is states:
            readers = self.readers[self.last[0]]
            if layer not in readers:
                readers.append(layer)
            return
        self.last = (layer, states)
        self.readers.setdefault(layer, [layer])
        units = torch.nn.functional.normalize(states[0].float(), dim=-1)
        moment = units.T @ units
        self.moments[layer] = self.moments[layer] + moment if layer in self.moments else moment


@contextmanager
def _watching(lora: DomainLora, watch: _Watch) -> Iterator[None]:
    def hook(name: str) -> Callable[[Any, Sequence[Tensor]], None]:
        return lambda _layer, arguments: watch.see(name, arguments[0])

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in lora.layers().items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _outside(moment: Tensor, basis: Tensor) -> Tensor:
    """(I - M Mᵀ) C (I - M Mᵀ)."""
    half = moment - basis @ (basis.T @ moment)
    return half - (half @ basis) @ basis.T


def _principal(moment: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, largest first, and eigenvectors as columns."""
    values, vectors = torch.linalg.eigh(moment)
    return values.flip(0), vectors.flip(1)


def _orthonormal(vectors: Tensor, basis: Tensor) -> Tensor:
    """The vectors freed of what rounding left of the basis in them."""
    orthonormal: Tensor = torch.linalg.qr(vectors - basis @ (basis.T @ vectors)).Q
    return orthonormal
