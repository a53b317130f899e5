"""InfLoRA: LoRAs that read only what earlier domains do not use."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from crma_training.learn import ADAPTER
from crma_training.lora import OWN, DomainLora
from crma_training.methods.input_memory import InputMemory, Inputs, gather_inputs
from crma_training.methods.lora_training import fresh_lora, train_lora
from crma_training.methods.method import Lesson, Serving
from crma_training.methods.o_lora import stack_on
from crma_training.trainer.groups import ParameterGroup

MEMORY = "inputs.safetensors"
ROW_NORM = 1 / math.sqrt(3)  # of a row of A in the authors' code, and of a fresh LoRA's on average


@dataclass(frozen=True)
class InfLora:
    """Interference-free low-rank adaptation (Liang & Li 2024, arXiv:2404.00228).

    Before a domain A (the paper's B_t, section 3.2) is set to the first principal directions of the layer's
    inputs on the new domain, less what lies in the space of earlier domains' inputs; it stays frozen and only
    B learns. So the update is orthogonal to earlier inputs and changes nothing there. After a domain its
    inputs join that space until it holds the share `threshold` of their energy (GPM's criterion, Saha et al.
    2021, arXiv:2103.09762, eq. 5 and 9). All branches are active and saved side by side as one LoRA.

    Deviations: of DualGPM the memory is kept, not its switch to the complement, which saves storage only;
    energies are those of the inputs, as in the paper, where the authors' code squares them once more; the
    threshold is constant, the code raises it from 0.95 to 1 in some experiments; `rows` training rows give
    the inputs, not all, and every token's input counts as of length 1 (`gather_inputs` says why). A is
    rounded to bfloat16, as it is served, before B learns. Not tuned.
    """

    name: str = "inflora"
    threshold: float = 0.95
    rows: int = 16
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        memory = InputMemory({}) if lesson.last is None else InputMemory.read(lesson.last / MEMORY)
        lora = fresh_lora(lesson)
        if lesson.last is not None:
            lora.add_frozen(lesson.last / ADAPTER)
        aim(lora, memory, gather_inputs(lesson, lora, self.rows))
        config = lesson.bench.config
        group = ParameterGroup("lora", up_projections(lora), config.learning_rate, config.weight_decay)
        train_lora(lesson, lora, folder, groups=[group])
        lora.load(folder / ADAPTER)
        memory.extended(gather_inputs(lesson, lora, self.rows), self.threshold).write(folder / MEMORY)
        lora.remove()
        if lesson.last is not None:
            stack_on(lesson.last / ADAPTER, folder / ADAPTER)

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:  # noqa: ARG002
        """The sum of all branches so far, whatever the domain."""
        return Serving(stages[-1] / ADAPTER)


def aim(lora: DomainLora, memory: InputMemory, inputs: Inputs) -> None:
    """Sets every A to the principal directions of the layer's inputs outside the memory, and freezes it."""
    layers = lora.layers()
    for name, states in inputs.states.items():
        rank = len(layers[name].lora_A[OWN].weight)
        a = ROW_NORM * memory.free_directions(name, states, rank).T
        for reader in inputs.readers[name]:
            layers[reader].lora_A[OWN].weight.data.copy_(a.bfloat16())
            layers[reader].lora_A[OWN].weight.requires_grad_(False)


def up_projections(lora: DomainLora) -> tuple[nn.Parameter, ...]:
    """Every B of the LoRA that learns."""
    return tuple(layer.lora_B[OWN].weight for layer in lora.layers().values())
