"""The one training loop."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from crma_adapters.crma.attach import Attachment
from crma_adapters.crma.crma import Crma
from crma_adapters.errors import TrainingError
from crma_training.config import TrainConfig
from crma_training.data.tokens import Batch, Example, collate, training_order
from crma_training.lora import DomainLora
from crma_training.losses import answer_loss
from crma_training.metrics import MetricsLog, StepMetrics
from crma_training.optimize import GroupOptimizer, ParameterGroup
from crma_training.spectral import read_spectral
from crma_training.workbench import Task, Workbench

Batches = Iterable[Sequence[Example]]

R = TypeVar("R")
RowsLoss = Callable[[Any, Sequence[R], Batch], Tensor]
"""The loss (a scalar) of a model on a batch of rows that are more than examples."""


def fit(
    bench: Workbench,
    groups: Sequence[ParameterGroup],
    batches: Iterable[Sequence[Any]],
    log: MetricsLog,
    *,
    attachment: Attachment | None = None,
    rows: RowsLoss[Any] | None = None,
    penalty: Callable[[], Tensor] | None = None,
    watch: Callable[[int], bool | None] | None = None,
) -> int:
    """Trains the groups, a step per batch; returns the number of answer tokens learnt from.

    `attachment` is the CRMA in use, whose blocks are logged. `rows` is the loss of batches whose rows hold
    more than their `example`; else a batch is of examples and its loss that of their answers. `penalty` is
    added to each batch's loss (a regulariser; the logged loss is without it). `watch` is called with the
    number of steps done, before the first and after each; it must leave the model as it finds it, and ends
    the training by returning True.

    Raises:
        TrainingError: the loss is not finite.
    """
    optimizer = _optimizer(bench.config, groups, log.steps)
    if attachment is not None:
        attachment.record_updates = True
    bench.model.train()
    answer_tokens = 0
    if watch is not None:
        watch(0)
    for step, given in enumerate(batches):
        batch = collate([row.example for row in given] if rows else given, bench.pad_id)
        loss = rows(bench.model, given, batch) if rows else answer_loss(bench.model, batch)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"{log.domain}: loss is {loss.item()} at step {step}; lower --learning-rate, "
                "or use --dtype float32"
            )
        objective = loss if penalty is None else loss + penalty()
        objective.backward()  # type: ignore[no-untyped-call]
        update = optimizer.step(step)
        log.write(
            StepMetrics(
                domain=log.domain,
                step=step,
                loss=loss.item(),
                gradient_norm={name: clipping.norm for name, clipping in update.clippings.items()},
                clipped={name: clipping.clipped for name, clipping in update.clippings.items()},
                learning_rate=update.learning_rates,
                spectral=None if attachment is None else read_spectral(attachment),
                tokens=batch.tokens,
                skipped=update.skipped,
            )
        )
        answer_tokens += batch.answer_tokens
        if watch is not None and watch(step + 1):
            break
    if attachment is not None:
        attachment.record_updates = False
    return answer_tokens


def own_batches(task: Task, config: TrainConfig, steps: int) -> Iterator[list[Example]]:
    """`steps` batches of the task's own rows, the same for every method of learning them."""
    order = training_order(task.train, config.batch_size, steps, seed=f"{config.seed}/{task.name}")
    return ([task.train[index] for index in indices] for indices in order)


def steps_for(task: Task, config: TrainConfig) -> int:
    """Optimizer steps of one domain."""
    return config.steps or config.epochs * math.ceil(len(task.train) / config.batch_size)


def _optimizer(config: TrainConfig, groups: Sequence[ParameterGroup], steps: int) -> GroupOptimizer:
    return GroupOptimizer(
        groups,
        steps=steps,
        schedule=config.schedule,
        warmup=config.warmup,
        zclip_threshold=config.zclip_threshold,
    )


def parameter_groups(config: TrainConfig, lora: DomainLora, crma: Crma) -> list[ParameterGroup]:
    """The LoRA and, unless the backbone is frozen, CRMA's projections and logits."""
    groups = [lora_group(config, lora)]
    if config.freeze_backbone:
        crma.requires_grad_(False)
    else:
        crma.unfreeze()
    return groups + crma_groups(config, crma)


def crma_groups(config: TrainConfig, crma: Crma, prefix: str = "") -> list[ParameterGroup]:
    """A CRMA's projections and logits that are not frozen; `prefix` tells a mixer's from a backbone's."""
    settings = {
        "projections": (config.crma_learning_rate, config.crma_weight_decay),
        "logits": (config.logits_learning_rate, 0.0),
    }
    found = crma.parameter_groups()
    return [
        ParameterGroup(prefix + name, tuple(found[name]), *rates)
        for name, rates in settings.items()
        if found[name]
    ]


def lora_group(config: TrainConfig, lora: DomainLora) -> ParameterGroup:
    """A and B of the LoRA."""
    return ParameterGroup("lora", lora.parameters(), config.learning_rate, config.weight_decay)
