"""The one training loop.

Owns: batch after batch through loss, backward pass, optimizer and log. Knows nothing of what is measured or
saved before and after.
"""

from collections.abc import Sequence

import torch

from crma_adapters.attach import Attachment
from crma_adapters.crma import Crma
from crma_adapters.errors import TrainingError
from crma_training.config import TrainConfig
from crma_training.lora import DomainLora
from crma_training.losses import answer_loss
from crma_training.metrics import MetricsLog, StepMetrics
from crma_training.optimize import GroupOptimizer, ParameterGroup
from crma_training.spectral import read_spectral
from crma_training.tokens import collate, training_order
from crma_training.workbench import Task, Workbench


def fit(
    bench: Workbench,
    attachment: Attachment,
    groups: Sequence[ParameterGroup],
    task: Task,
    steps: int,
    log: MetricsLog,
) -> int:
    """Trains the groups on the task with the CRMA attached; returns the number of answer tokens learnt from.

    Raises:
        TrainingError: the loss is not finite.
    """
    config = bench.config
    optimizer = GroupOptimizer(
        groups,
        steps=steps,
        schedule=config.schedule,
        warmup=config.warmup,
        zclip_threshold=config.zclip_threshold,
    )
    order = training_order(task.train, config.batch_size, steps, seed=f"{config.seed}/{task.name}")
    attachment.record_updates = True
    bench.model.train()
    answer_tokens = 0
    for step, indices in enumerate(order):
        batch = collate([task.train[index] for index in indices], bench.pad_id)
        loss = answer_loss(bench.model, batch)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"{task.name}: loss is {loss.item()} at step {step}; lower --learning-rate, "
                "or use --dtype float32"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        update = optimizer.step(step)
        log.write(
            StepMetrics(
                domain=task.name,
                step=step,
                loss=loss.item(),
                gradient_norm={name: clipping.norm for name, clipping in update.clippings.items()},
                clipped={name: clipping.clipped for name, clipping in update.clippings.items()},
                learning_rate=update.learning_rates,
                spectral=read_spectral(attachment),
                tokens=batch.tokens,
            )
        )
        answer_tokens += batch.answer_tokens
    attachment.record_updates = False
    return answer_tokens


def parameter_groups(config: TrainConfig, lora: DomainLora, crma: Crma) -> list[ParameterGroup]:
    """The LoRA and, unless the backbone is frozen, CRMA's projections, logits and gates."""
    groups = [ParameterGroup("lora", lora.parameters(), config.learning_rate, config.weight_decay)]
    if config.freeze_backbone:
        crma.requires_grad_(False)
    settings = {
        "projections": (config.crma_learning_rate, config.weight_decay),
        "logits": (config.logits_learning_rate, 0.0),
        "alpha": (config.alpha_learning_rate, 0.0),
    }
    for name, parameters in crma.parameter_groups().items():
        if parameters:
            groups.append(ParameterGroup(name, tuple(parameters), *settings[name]))
    return groups
