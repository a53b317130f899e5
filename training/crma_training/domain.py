"""One domain from start to end: measured, a fresh LoRA trained with the CRMA backbone, saved, measured again.

Owns: what a finished domain leaves behind, its card included. Knows nothing of other domains or of releases.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from crma_adapters.crma.attach import attach
from crma_adapters.crma.backbone import save_backbone
from crma_adapters.crma.crma import Crma
from crma_adapters.errors import TrainingError
from crma_adapters.store.card import CARD_FILE, AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.store.parts import BACKBONE as BACKBONE_PART
from crma_adapters.store.parts import describe_part
from crma_training.fit import fit, own_batches, parameter_groups, steps_for
from crma_training.lora import DomainLora
from crma_training.metrics import MetricsLog
from crma_training.visibility.environment import write_environment
from crma_training.visibility.holdout import HoldoutCurve, HoldoutLog
from crma_training.visibility.tensorboard import EventWriter
from crma_training.workbench import Task, Workbench

ADAPTER, BACKBONE = "adapter", "backbone"  # a finished domain's folders


def train_domain(
    bench: Workbench, crma: Crma, task: Task, folder: Path, events: EventWriter | None = None
) -> AdapterCard:
    """Trains one domain; writes its LoRA with its card, backbone snapshot and metrics into `folder`, and the
    metrics to `events` too.

    Raises:
        TrainingError: the loss is not finite, or a frozen weight changed.
    """
    config, base = bench.config, bench.base
    steps = steps_for(task, config)
    write_environment(folder)
    weights = bench.weights_digest()
    loss_base = bench.loss(task.holdout)
    with attach(bench.model, crma) as attachment:
        loss_before = bench.loss(task.holdout)
        lora = DomainLora.fresh(bench.model, config, domain_seed(config.seed, task.name))
        groups = parameter_groups(config, lora, crma)
        with MetricsLog(folder, task.name, steps, events.step if events else None) as log:
            batches = own_batches(task, config, steps)
            holdout = HoldoutLog(folder, events.holdout if events else None)
            watch = HoldoutCurve(bench, task, attachment, holdout, log)
            answer_tokens = fit(bench, groups, batches, log, attachment=attachment, watch=watch)
        lora.save(folder / ADAPTER, base.name)
        lora.load(folder / ADAPTER)
        loss_after = bench.loss(task.holdout)
        lora.remove()
    if bench.weights_digest() != weights:
        raise TrainingError(f"{task.name}: frozen base weights changed in training; this is a bug")
    save_backbone(crma, folder / BACKBONE, base_model=base.name, base_fingerprint=base.fingerprint)
    loss = CardLoss(base=loss_base, before=loss_before, after=loss_after)
    card = adapter_card(bench, task, backbone_version(folder / BACKBONE), steps, answer_tokens, loss)
    (folder / ADAPTER / CARD_FILE).write_bytes(card.to_json())
    return card


def adapter_card(
    bench: Workbench, task: Task, backbone: str, steps: int, answer_tokens: int, loss: CardLoss
) -> AdapterCard:
    config, base = bench.config, bench.base
    return AdapterCard(
        name=task.name,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=backbone,
        rank=config.rank,
        alpha=config.lora_alpha,
        target_modules=config.target_modules,
        data=CardData(
            rows_train=len(task.train),
            rows_holdout=len(task.holdout),
            sources=_distinct(row.source for row in task.domain.train),
            licences=_distinct(row.licence for row in task.domain.train),
        ),
        training=CardTraining(
            steps=steps,
            epochs=round(steps * config.batch_size / len(task.train), 3),
            seed=config.seed,
            learning_rate=config.learning_rate,
            tokens=answer_tokens,
        ),
        holdout_loss=loss,
    )


def backbone_version(folder: Path) -> str:
    """The version a saved backbone has in any store."""
    return describe_part(folder, BACKBONE_PART).version


def domain_seed(seed: int, name: str) -> int:
    """A domain's own seed, so that its LoRA does not depend on which domains ran before in this process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]) >> 1


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))
