"""O-LoRA: a LoRA per domain, all of them at work together, each new one orthogonal to those before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from crma_training.learn import ADAPTER
from crma_training.lora import EARLIER, OWN, DomainLora
from crma_training.methods.lora_training import fresh_lora, train_lora
from crma_training.methods.method import Lesson, Serving
from crma_training.saved_lora import SavedLora, stacked


@dataclass(frozen=True)
class OLora:
    """Orthogonal subspace learning (Wang et al. 2023, arXiv:2310.14152).

    Earlier LoRAs are frozen and stay active while a fresh one learns (section 3.2); one LoRA, their sum,
    answers for all domains, here saved side by side with the rank of all together. The loss gains
    λ Σ_{i<t} Σ |A_i A_tᵀ| over all layers. Equation 8 squares the entries; the authors' code
    (github.com/cmnfriend/O-LoRA, uie_trainer_lora.py) takes their absolute values, and so do we, with its
    λ = 0.5 and without its second, by default absent, penalty on the norm of the new LoRA. Not tuned.
    """

    name: str = "o-lora"
    strength: float = 0.5  # λ
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        lora = fresh_lora(lesson)
        if lesson.last is None:
            train_lora(lesson, lora, folder)
        else:
            lora.add_frozen(lesson.last / ADAPTER)
            pairs = down_projections(lora)
            train_lora(lesson, lora, folder, penalty=lambda: self.strength * overlap(pairs))
        lora.remove()
        if lesson.last is not None:
            stack_on(lesson.last / ADAPTER, folder / ADAPTER)

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:  # noqa: ARG002
        """The sum of all LoRAs so far, whatever the domain."""
        return Serving(stages[-1] / ADAPTER)


def down_projections(lora: DomainLora) -> list[tuple[Tensor, Tensor]]:
    """Per layer the A of the frozen LoRA (all earlier ones below each other) and of the one that learns."""
    return [(layer.lora_A[EARLIER].weight, layer.lora_A[OWN].weight) for layer in lora.layers().values()]


def overlap(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Σ |A_earlier A_newᵀ| over entries and layers, a scalar: 0 if and only if all rows are orthogonal."""
    return torch.stack([(earlier @ new.T).abs().sum() for earlier, new in pairs]).sum()


def stack_on(earlier: Path, new: Path) -> None:
    """Replaces the saved LoRA `new` by the exact sum of `earlier` and itself."""
    stacked([SavedLora.read(earlier), SavedLora.read(new)]).write(new)
