"""The ends of the scale without CRMA: one LoRA for everything, one per domain, and all data at once.

Owns: the controls NAIVE, FROZEN, FROZEN-matched and the upper bound JOINT. Knows nothing of CRMA but its
size.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.crma import Crma
from crma_training.config import TrainConfig
from crma_training.domain import ADAPTER
from crma_training.fit import own_batches
from crma_training.lora import DomainLora
from crma_training.methods.lora_training import continued_lora, fresh_lora, train_lora
from crma_training.methods.method import Lesson, Serving
from crma_training.workbench import Task, Workbench


@dataclass(frozen=True)
class Naive:
    """One LoRA that goes on training on each domain in turn: what users do today."""

    name: str = "naive"
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        lora = continued_lora(lesson)
        train_lora(lesson, lora, folder)
        lora.remove()

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:  # noqa: ARG002
        """The one LoRA, whatever the domain."""
        return Serving(stages[-1] / ADAPTER)


@dataclass(frozen=True)
class Frozen:
    """A fresh LoRA per domain on the bare base model. Nothing it has learnt ever changes: its drift is zero
    by construction, and it learns no more from many domains than from one.
    """

    name: str = "frozen"
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        lora = fresh_lora(lesson)
        train_lora(lesson, lora, folder)
        lora.remove()

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:
        """The domain's own LoRA; the bare base model before it has one."""
        return Serving(stages[domain] / ADAPTER if domain < len(stages) else None)


@dataclass(frozen=True)
class FrozenMatched(Frozen):
    """FROZEN with a larger rank: as many more parameters per domain as CRMA has in all, rounded up."""

    name: str = "frozen-matched"

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        config = matched_config(lesson.bench)
        lora = fresh_lora(lesson, config)
        train_lora(lesson, lora, folder)
        lora.remove()


@dataclass(frozen=True)
class Joint:
    """One LoRA trained on the rows of all domains together, with the steps of all: the multi-task bound."""

    name: str = "joint"
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`; only the last stage trains."""
        if lesson.index < len(lesson.tasks) - 1:
            return
        steps = len(lesson.tasks) * lesson.steps
        union = Task(lesson.task.domain, tuple(e for task in lesson.tasks for e in task.train), ())
        lora = fresh_lora(lesson)
        batches = own_batches(union, lesson.bench.config, steps)
        train_lora(lesson, lora, folder, batches=batches, steps=steps)
        lora.remove()

    def serving(self, stages: Sequence[Path], domain: int) -> Serving | None:  # noqa: ARG002
        """The one LoRA once it is there."""
        return Serving(stages[-1] / ADAPTER) if (stages[-1] / ADAPTER).exists() else None


def matched_config(bench: Workbench) -> TrainConfig:
    """The run's configuration with a rank raised by CRMA's parameters, alpha / rank kept."""
    config = bench.config
    crma = Crma.from_model(bench.model, mode=config.mode, rank=config.mixing_rank)
    extra = sum(parameter.numel() for parameter in crma.parameters())
    lora = DomainLora.fresh(bench.model, config, seed=0)
    per_rank = sum(parameter.numel() for parameter in lora.parameters()) / config.rank
    lora.remove()
    rank = config.rank + math.ceil(extra / per_rank)
    return dataclasses.replace(config, rank=rank, lora_alpha=round(config.lora_alpha * rank / config.rank))
