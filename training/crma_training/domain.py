"""One domain of a training run from start to end: measured, learnt, saved, measured again, described."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crma_adapters.crma.backbone import load_backbone, save_backbone
from crma_adapters.crma.crma import Crma
from crma_adapters.errors import TrainingError
from crma_adapters.lora.lora_files import adapted_modules
from crma_adapters.store.card import (
    CARD_FILE,
    AdapterCard,
    CardData,
    CardLoss,
    CardStart,
    CardTraining,
    CardValidation,
)
from crma_adapters.store.parts import BACKBONE as BACKBONE_PART
from crma_adapters.store.parts import describe_part
from crma_training.adapter import DomainAdapter, at_work
from crma_training.data.tokens import Example
from crma_training.fit import own_batches, steps_for
from crma_training.learn import ADAPTER, BACKBONE, Learnt, Watch, learn_domain
from crma_training.trainer.checkpoints import CHECKPOINTS, last_checkpoint
from crma_training.trainer.losses import row_losses
from crma_training.trainer.metrics import MetricsLog
from crma_training.visibility.environment import write_environment
from crma_training.visibility.holdout import HoldoutCurve, HoldoutLog
from crma_training.visibility.tensorboard import EventWriter
from crma_training.workbench import Task, Workbench


@dataclass(frozen=True)
class Beginning:
    """What a domain's training begins with: the adapter it goes on from, and what that is of; the shared
    backbone under it, which trains along, None for the bare base model.
    """

    start: Path | None = None
    start_of: tuple[str, ...] = ()
    backbone: Crma | None = None


def train_domain(
    bench: Workbench,
    task: Task,
    folder: Path,
    beginning: Beginning | None = None,
    events: EventWriter | None = None,
) -> AdapterCard:
    """Trains one domain; writes its adapter with its card, the backbone as it left it and metrics into
    `folder`, and the metrics to `events` too. Goes on from the last checkpoint in `folder`, if there is one.

    Raises:
        TrainingError: the loss is not finite, or a frozen weight changed.
    """
    config, beginning = bench.config, beginning or Beginning()
    steps = steps_for(task, config)
    write_environment(folder)
    weights = bench.weights_digest()
    loss_base = bench.loss(task.holdout)
    backbone = folder / BACKBONE if beginning.backbone is not None else None
    loss_before = loss_base
    if beginning.backbone is not None and backbone is not None:
        _save(beginning.backbone, backbone, bench)
        with at_work(bench.model, None, backbone):
            loss_before = bench.loss(task.holdout)

    checkpoint = last_checkpoint(folder)

    def watch(adapter: DomainAdapter, log: MetricsLog) -> Watch:
        done = checkpoint.step if checkpoint else 0
        holdout = HoldoutLog(folder, events.holdout if events else None, done)
        return HoldoutCurve(bench, task, adapter.attachment, holdout, log)

    learnt = learn_domain(
        bench,
        task.name,
        own_batches(task, config, steps),
        steps,
        folder,
        start=beginning.start,
        backbone=beginning.backbone,
        train_backbone=not config.freeze_backbone,
        validation=task.validation,
        watch=watch,
        on_step=events.step if events else None,
        resumable=True,
    )
    if bench.weights_digest() != weights:
        raise TrainingError(f"{task.name}: frozen base weights changed in training; this is a bug")
    if beginning.backbone is not None and backbone is not None:
        _save(beginning.backbone, backbone, bench)
    with at_work(bench.model, folder / ADAPTER, backbone):
        loss_after = bench.loss(task.holdout)
        validation = rows_loss(bench, task.validation)
    version = None if backbone is None else backbone_version(backbone)
    loss = CardLoss(base=loss_base, before=loss_before, after=loss_after)
    card = adapter_card(bench, task, folder, version, learnt, loss, beginning, validation)
    (folder / ADAPTER / CARD_FILE).write_bytes(card.to_json())
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return card


def adapter_card(
    bench: Workbench,
    task: Task,
    folder: Path,
    backbone: str | None,
    learnt: Learnt,
    loss: CardLoss,
    beginning: Beginning,
    validation: CardValidation | None,
) -> AdapterCard:
    """What the store keeps of how an adapter was trained."""
    config, base = bench.config, bench.base
    mixer = config.adapter == "mixer"
    return AdapterCard(
        name=task.name,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=backbone,
        rank=config.mixing_rank if mixer else config.rank,
        alpha=float(config.mixing_rank) if mixer else config.lora_alpha,
        target_modules=("residual_mixer",) if mixer else tuple(sorted(adapted_modules(folder / ADAPTER))),
        data=CardData(
            rows_train=len(task.train),
            rows_holdout=len(task.holdout),
            sources=_distinct(row.source for row in task.domain.train),
            licences=_distinct(row.licence for row in task.domain.train),
        ),
        training=CardTraining(
            steps=learnt.fitted.steps,
            epochs=round(learnt.fitted.steps * config.step_rows / len(task.train), 3),
            seed=config.seed,
            learning_rate=config.crma_learning_rate if mixer else config.learning_rate,
            tokens=learnt.fitted.answer_tokens,
        ),
        holdout_loss=loss,
        kind=config.adapter,
        mixing_rank=None if config.adapter == "lora" else config.mixing_rank,
        validation_loss=validation,
        start=CardStart(config.start if beginning.start else "fresh", beginning.start_of),
        parameters=learnt.parameters,
    )


def rows_loss(bench: Workbench, rows: Sequence[Example]) -> CardValidation | None:
    """Mean and standard error of the rows' losses with what is on the model now; None below two rows."""
    if len(rows) < 2:
        return None
    losses = np.array(row_losses(bench.model, rows, 2 * bench.config.batch_size, bench.pad_id))
    error = float(losses.std(ddof=1) / np.sqrt(len(losses)))
    return CardValidation(float(losses.mean()), error, len(losses))


def backbone_version(folder: Path) -> str:
    """The version a saved backbone has in any store."""
    return describe_part(folder, BACKBONE_PART).version


def read_backbone(folder: Path | None) -> Crma | None:
    """The saved backbone, read back from disk so that a resumed run sees what an uninterrupted one saw."""
    return None if folder is None else load_backbone(folder)


def _save(crma: Crma, folder: Path, bench: Workbench) -> None:
    save_backbone(crma, folder, base_model=bench.base.name, base_fingerprint=bench.base.fingerprint)


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))
