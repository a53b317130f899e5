"""The training that most methods share: a LoRA on the bare base model, trained and saved."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from crma_training.config import TrainConfig
from crma_training.fit import Batches, fit
from crma_training.learn import ADAPTER, domain_seed
from crma_training.lora import DomainLora
from crma_training.methods.method import Lesson
from crma_training.trainer.groups import ParameterGroup, lora_group
from crma_training.trainer.metrics import MetricsLog


def fresh_lora(lesson: Lesson, config: TrainConfig | None = None) -> DomainLora:
    """A new LoRA for the lesson's domain; for one domain and seed the same start in every method."""
    bench = lesson.bench
    return DomainLora.fresh(
        bench.model, config or bench.config, domain_seed(bench.config.seed, lesson.task.name)
    )


def continued_lora(lesson: Lesson) -> DomainLora:
    """The LoRA that the stage before left, or a fresh one at the first domain."""
    if lesson.last is None:
        return fresh_lora(lesson)
    return DomainLora.saved(lesson.bench.model, lesson.last / ADAPTER, trainable=True)


def train_lora(
    lesson: Lesson,
    lora: DomainLora,
    folder: Path,
    *,
    groups: Sequence[ParameterGroup] | None = None,
    batches: Batches | None = None,
    steps: int | None = None,
    penalty: Callable[[], Tensor] | None = None,
) -> None:
    """Trains an attached LoRA (all of it unless `groups` say otherwise) on the lesson's batches (unless
    others are given) and saves it as `folder/adapter`; it stays attached.
    """
    bench = lesson.bench
    with MetricsLog(folder, lesson.task.name, steps or lesson.steps) as log:
        fit(
            bench,
            groups or [lora_group(bench.config, lora)],
            lesson.batches if batches is None else batches,
            log,
            penalty=penalty,
            seed=domain_seed(bench.config.seed, lesson.task.name),
        )
    lora.save(folder / ADAPTER, bench.base.name)
