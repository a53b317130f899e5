"""The one way in which anything is trained: batches through transformers' `Trainer`, a step per batch."""

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from crma_adapters.crma.attach import Attachment
from crma_adapters.errors import ConfigError, TrainingError
from crma_training.config import TrainConfig
from crma_training.data.tokens import Example, collate, training_order
from crma_training.trainer.checkpoints import CHECKPOINTS, KEPT, Checkpoint, Sealing, last_checkpoint
from crma_training.trainer.groups import ParameterGroup
from crma_training.trainer.metrics import MetricsLog
from crma_training.trainer.sharding import bring_back, copied, is_sharded
from crma_training.trainer.steps import Part, StepParts, examples_batch, rows_batch
from crma_training.trainer.trainer import CrmaTrainer, LossModel, Objective, RowsLoss
from crma_training.workbench import Task, Workbench

Batches = Iterable[Sequence[Example]]


@dataclass(frozen=True)
class Fitted:
    """How a training went.

    Attributes:
        answer_tokens: learnt from.
        steps: optimizer steps done; fewer than asked for when it stopped early.
        kept_step: the step whose weights were kept; `steps` without validation.
    """

    answer_tokens: int
    steps: int
    kept_step: int


def fit(
    bench: Workbench,
    groups: Sequence[ParameterGroup],
    batches: Iterable[Sequence[Any]],
    log: MetricsLog,
    *,
    attachment: Attachment | None = None,
    rows: RowsLoss | None = None,
    penalty: Callable[[], Tensor] | None = None,
    watch: Callable[[int], None] | None = None,
    validation: Sequence[Example] = (),
    seed: int = 0,
    resumable: bool = False,
) -> Fitted:
    """Trains the groups, a step per batch.

    `attachment` is the CRMA in use, whose blocks are logged. `rows` is the loss of batches whose rows hold
    more than their `example`; else a batch is of examples and its loss that of their answers. `penalty` is
    added to each batch's loss. `watch` is called with the number of steps done, before the first and after
    each; it must leave the model as it finds it. With `validation` rows training stops when their loss has
    not fallen for `patience` measurements, and the best weights are kept. `seed` is that of dropout. A
    `resumable` training goes on from the last checkpoint beside the log, if there is one, and leaves its
    checkpoints there.

    Raises:
        TrainingError: the loss is not finite, or gradients are not finite step after step.
    """
    config = bench.config
    if is_sharded():
        _refuse_sharded(penalty, validation)
        watch = None  # the whole model learns at the end
    checkpoint = last_checkpoint(log.folder)
    log.begin(checkpoint.step if checkpoint else 0)
    args = _arguments(config, log, seed=seed, evaluated=bool(validation), resumable=resumable)
    parts = StepParts(
        batches,
        (rows_batch if rows else examples_batch)(bench.pad_id),
        accumulation=config.gradient_accumulation_steps,
        process=args.process_index,
        processes=args.world_size,
        skip=checkpoint.step if checkpoint else 0,
    )
    callbacks: list[TrainerCallback] = [Sealing()] if args.save_strategy != "no" else []
    if validation:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=config.patience))
    if watch is not None:
        callbacks.append(_Watching(watch))
    model, own = LossModel(bench.model, rows, shared_prefix=not is_sharded()), list(groups)
    if is_sharded():
        model, own = copied(model, groups)
    objective = Objective(own, parts, _validation(bench, validation), penalty, attachment)
    threshold = config.zclip_threshold
    trainer = CrmaTrainer(model, args, objective, log, zclip_threshold=threshold, callbacks=callbacks)
    with _recording(attachment):
        _train(trainer, checkpoint, config)
    if is_sharded():
        bring_back(trainer, groups)
    parts.finish()
    if not resumable:
        shutil.rmtree(args.output_dir, ignore_errors=True)
    steps = trainer.state.global_step
    return Fitted(trainer.answer_tokens, steps, trainer.state.best_global_step or steps)


def own_batches(task: Task, config: TrainConfig, steps: int) -> Iterator[list[Example]]:
    """`steps` batches of the task's own rows, the same for every method of learning them."""
    order = training_order(task.train, config.step_rows, steps, seed=f"{config.seed}/{task.name}")
    return ([task.train[index] for index in indices] for indices in order)


def steps_for(task: Task, config: TrainConfig) -> int:
    """Optimizer steps of one domain."""
    return config.steps or config.epochs * math.ceil(len(task.train) / config.step_rows)


def _train(trainer: CrmaTrainer, checkpoint: Checkpoint | None, config: TrainConfig) -> None:
    if checkpoint is not None and checkpoint.ended():
        trainer.take_up(checkpoint)
        return
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, MemoryError) or should_reduce_batch_size(error)):
            raise
        size, parts = config.batch_size, config.gradient_accumulation_steps
        fewer = f"--per-device-train-batch-size {max(1, size // 2)} --gradient-accumulation-steps {2 * parts}"
        raise TrainingError(
            f"{trainer.domain}: out of memory at step {trainer.state.global_step} with "
            f"--per-device-train-batch-size {size}; what was trained is kept: give the same command with "
            f"{fewer if size > 1 else 'a shorter --max-length'}, --gradient-checkpointing or --load-in-4bit"
        ) from error


def _refuse_sharded(penalty: Callable[[], Tensor] | None, validation: Sequence[Example]) -> None:
    """Raises `ConfigError` for what needs the whole model while it trains."""
    if penalty is not None:
        raise ConfigError("a method with a penalty on weights does not train under FSDP; launch without it")
    if validation:
        raise ConfigError(
            "validation rows do not stop a training early under FSDP; launch without it, or leave them out"
        )


def _arguments(
    config: TrainConfig, log: MetricsLog, *, seed: int, evaluated: bool, resumable: bool
) -> TrainingArguments:
    """What transformers is told. With validation it saves whenever it measures, to keep the best weights."""
    every = config.validate_every or max(1, round(log.steps / config.epochs / 2))
    save_steps = every if evaluated else config.save_steps
    saves = evaluated or (resumable and save_steps > 0 and not is_sharded())
    args = TrainingArguments(
        output_dir=str(log.folder / CHECKPOINTS),
        max_steps=log.steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=int(config.warmup * log.steps),
        optim=config.optim,
        seed=seed % 2**32,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[name for name in config.report_to if name != "none"] or "none",
        run_name=log.domain,
        disable_tqdm=True,
        save_strategy="steps" if saves else "no",
        save_steps=save_steps or log.steps,
        save_total_limit=KEPT,
        eval_strategy="steps" if evaluated else "no",
        eval_steps=every if evaluated else None,
        load_best_model_at_end=evaluated,
        metric_for_best_model="eval_loss" if evaluated else None,
        greater_is_better=False if evaluated else None,
        restore_callback_states_from_checkpoint=True,
        ignore_data_skip=True,  # the batches passed over are not made
        remove_unused_columns=False,
        average_tokens_across_devices=False,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=False,
    )
    if args.n_gpu > 1:  # one process with several GPUs in sight: it uses its own, not DataParallel
        args._n_gpu = 1
    return args


def _validation(bench: Workbench, examples: Sequence[Example]) -> list[Part]:
    """The examples in batches of like length."""
    by_length = sorted(examples, key=lambda example: len(example.token_ids))
    size, parts = 2 * bench.config.batch_size, []
    for start in range(0, len(by_length), size):
        rows = by_length[start : start + size]
        batch = collate(rows, bench.pad_id)
        parts.append(Part(rows, batch, batch.tokens, batch.answer_tokens))
    return parts


@contextmanager
def _recording(attachment: Attachment | None) -> Iterator[None]:
    """The CRMA records how much it changes the residual stream."""
    if attachment is not None:
        attachment.record_updates = True
    try:
        yield
    finally:
        if attachment is not None:
            attachment.record_updates = False


class _Watching(TrainerCallback):  # type: ignore[misc]
    """Calls `watch` with the number of steps done."""

    def __init__(self, watch: Callable[[int], None]) -> None:
        self._watch = watch

    def on_train_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Before the first step, not where a training goes on."""
        if state.global_step == 0:
            self._watch(0)

    def on_step_end(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """After each step."""
        self._watch(state.global_step)
