"""What layers read on a domain, and the directions in which earlier domains' inputs lie."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from crma_training.lora import DomainLora
from crma_training.methods.method import Lesson

ROUNDING = 1e-6  # share of the energy of all inputs


@dataclass(frozen=True)
class Inputs:
    """Inputs of layers, a token per row (n, d) float32, by the first layer that reads each; `readers`: all
    layers that read it (queries and values, for one, read the same).
    """

    states: dict[str, Tensor]
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

    def free_directions(self, name: str, states: Tensor, count: int) -> Tensor:
        """The `count` principal directions of inputs outside the memory, (d, count), orthonormal; columns are
        zero when no direction is left.
        """
        basis = self._basis(name, states)
        directions = states.new_zeros(states.shape[1], count)
        _, vectors = _principal_outside(states, basis)
        used = min(count, vectors.shape[1])
        directions[:, :used] = _orthonormal(vectors[:, :used], basis)
        return directions

    def extended(self, inputs: Inputs, threshold: float) -> "InputMemory":
        """The memory with as many directions more as it takes to hold `threshold` of the inputs' energy."""
        return InputMemory(
            {name: self._grown(name, inputs.states[name], threshold) for name in inputs.states}
        )

    def _grown(self, name: str, states: Tensor, threshold: float) -> Tensor:
        basis = self._basis(name, states)
        energies, vectors = _principal_outside(states, basis)
        missing = energies.sum() - (1 - threshold) * states.square().sum()
        if missing <= 0:
            return basis
        count = min(int((energies.cumsum(0) < missing).sum()) + 1, len(energies))
        return torch.cat([basis, _orthonormal(vectors[:, :count], basis)], dim=1)

    def _basis(self, name: str, states: Tensor) -> Tensor:
        return self.bases[name].to(states) if name in self.bases else states.new_zeros(states.shape[1], 0)


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
    states = {name: torch.cat(parts) for name, parts in watch.states.items()}
    return Inputs(states, {name: tuple(readers) for name, readers in watch.readers.items()})


class _Watch:
    """Collects inputs; layers called one after another with the same tensor share one entry."""

    def __init__(self) -> None:
        self.states: dict[str, list[Tensor]] = {}
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
        self.states.setdefault(layer, []).append(normalize(states[0].float(), dim=-1))


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


def _principal_outside(states: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Energies, largest first, and directions (d, m) of what of the inputs lies outside the basis.

    By the eigenvectors of X Xᵀ or Xᵀ X, whichever is smaller: with few tokens in a wide layer many times
    faster than an SVD. Directions with no more energy than rounding leaves are not among them.
    """
    outside = states - (states @ basis) @ basis.T
    few = len(outside) < outside.shape[1]
    energies, vectors = torch.linalg.eigh(outside @ outside.T if few else outside.T @ outside)
    real = energies > ROUNDING * states.square().sum()
    energies, vectors = energies[real].flip(0), vectors[:, real].flip(1)
    left = states.shape[1] - basis.shape[1]
    directions = outside.T @ (vectors / energies.sqrt()) if few else vectors
    return energies[:left], directions[:, :left]


def _orthonormal(vectors: Tensor, basis: Tensor) -> Tensor:
    """The vectors freed of what rounding left of the basis in them."""
    orthonormal: Tensor = torch.linalg.qr(vectors - basis @ (basis.T @ vectors)).Q
    return orthonormal
