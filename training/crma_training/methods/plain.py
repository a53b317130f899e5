"""One LoRA for everything: trained on each domain in turn, or on all data at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_training.fit import own_batches
from crma_training.learn import ADAPTER
from crma_training.methods.lora_training import continued_lora, fresh_lora, train_lora
from crma_training.methods.method import Lesson, Serving
from crma_training.workbench import Task


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
class Joint:
    """One LoRA trained on the rows of all domains together, with `times_steps` the steps of all: the
    multi-task bound.
    """

    name: str = "joint"
    times_steps: int = 1
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`; only the last stage trains."""
        if lesson.index < len(lesson.tasks) - 1:
            return
        steps = self.times_steps * len(lesson.tasks) * lesson.steps
        union = Task(lesson.task.domain, tuple(e for task in lesson.tasks for e in task.train), ())
        lora = fresh_lora(lesson)
        batches = own_batches(union, lesson.bench.config, steps)
        train_lora(lesson, lora, folder, batches=batches, steps=steps)
        lora.remove()

    def serving(self, stages: Sequence[Path], domain: int) -> Serving | None:  # noqa: ARG002
        """The one LoRA once it is there."""
        return Serving(stages[-1] / ADAPTER) if (stages[-1] / ADAPTER).exists() else None
