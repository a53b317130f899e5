"""EWC: one LoRA whose weights are held back, each by how much earlier domains depend on it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crma_training.data.tokens import Example, collate
from crma_training.learn import ADAPTER
from crma_training.methods.lora_training import continued_lora, train_lora
from crma_training.methods.method import Lesson, Serving
from crma_training.trainer.losses import answer_loss
from crma_training.workbench import Workbench

FISHER = "fisher.safetensors"
FACTORS = ("lora_A", "lora_B")  # the parameter groups


@dataclass(frozen=True)
class Ewc:
    """Elastic weight consolidation (Kirkpatrick et al. 2017, arXiv:1612.00796, eq. 3) on NAIVE's LoRA.

    The penalty is λ/2 Σ_G mean_{i in G} F_i (θ_i - θ*_i)² over the groups G of all A and of all B. As in
    online EWC (Schwarz et al. 2018, arXiv:1805.06370, γ = 1; Huszár 2018, arXiv:1712.03847) there is one
    anchor θ*, the weights after the last domain (the saved LoRA itself), and F is the sum of the domains'
    Fisher information, each normalised. F is the diagonal of the empirical Fisher: squared gradients of
    single rows' log likelihood, over `rows` training rows in a pass of its own (van de Ven 2025,
    arXiv:2502.11756, compares the choices). Two deviations, so that λ means the same for every model, rank
    and length of row: F is divided by its mean over each group, and the sum over a group is a mean. λ/2 is
    thus the loss in nats for moving one group by 1 per weight: the default asks 0.5 nats for 1e-3 per weight,
    a step of Adam at our learning rate. It follows from that size alone and was not tuned.
    """

    name: str = "ewc"
    strength: float = 1e6  # λ
    rows: int = 16
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        earlier = None if lesson.last is None else load_file(str(lesson.last / FISHER))
        lora = continued_lora(lesson)
        parameters = lora.named_parameters()
        if earlier is None:
            train_lora(lesson, lora, folder)
        else:
            penalty = Penalty(parameters, earlier, self.strength)
            train_lora(lesson, lora, folder, penalty=penalty)
        lora.load(folder / ADAPTER)  # the Fisher of the anchor, which is what is saved
        fisher = normalised(fisher_information(lesson.bench, parameters, self._sample(lesson)))
        lora.remove()
        total = {name: value + (0 if earlier is None else earlier[name]) for name, value in fisher.items()}
        save_file(total, str(folder / FISHER))

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:  # noqa: ARG002
        """The one LoRA, whatever the domain."""
        return Serving(stages[-1] / ADAPTER)

    def _sample(self, lesson: Lesson) -> list[Example]:
        generator = random.Random(f"{lesson.bench.config.seed}/{lesson.task.name}/fisher")
        return generator.sample(lesson.task.train, min(self.rows, len(lesson.task.train)))


class Penalty:
    """λ/2 Σ_G mean_{i in G} F_i (θ_i - θ*_i)²; the anchor θ* is where the parameters are now."""

    def __init__(
        self, parameters: Mapping[str, Tensor], fisher: Mapping[str, Tensor], strength: float
    ) -> None:
        self._parameters = dict(parameters)
        self._anchor = {name: value.detach().clone() for name, value in parameters.items()}
        sizes = {factor: sum(p.numel() for p in _group(parameters, factor).values()) for factor in FACTORS}
        self._weights = {
            name: strength / 2 / size * fisher[name].to(parameters[name].device)
            for factor, size in sizes.items()
            for name in _group(parameters, factor)
        }

    def __call__(self) -> Tensor:
        """The penalty in nats, a scalar."""
        terms = [
            (weight * (self._parameters[name] - self._anchor[name]).square()).sum()
            for name, weight in self._weights.items()
        ]
        return torch.stack(terms).sum()


def fisher_information(
    bench: Workbench, parameters: Mapping[str, Tensor], examples: Sequence[Example]
) -> dict[str, Tensor]:
    """Mean over the rows of the squared gradient of a row's log likelihood, by parameter, on the CPU."""
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for example in examples:
        loss = answer_loss(bench.model, collate([example], bench.pad_id), reduction="sum")
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total += gradient.square()
    return {name: (total / len(examples)).detach().cpu() for name, total in sums.items()}


def normalised(fisher: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same divided by its mean over each group; a group without information stays zero."""
    scaled: dict[str, Tensor] = {}
    for factor in FACTORS:
        group = _group(fisher, factor)
        mean = torch.cat([value.flatten() for value in group.values()]).mean()
        scaled |= {name: value / mean if mean > 0 else value for name, value in group.items()}
    return scaled


def _group(tensors: Mapping[str, Tensor], factor: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if f".{factor}." in name}
