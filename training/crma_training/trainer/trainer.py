"""transformers' `Trainer` for CRMA: own loss, parameter groups, ZClip per group, small checkpoints."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from crma_adapters.crma.attach import Attachment
from crma_adapters.errors import TrainingError
from crma_training.data.tokens import Batch
from crma_training.trainer.checkpoints import Checkpoint
from crma_training.trainer.groups import ParameterGroup
from crma_training.trainer.losses import answer_loss
from crma_training.trainer.metrics import MetricsLog, StepMetrics
from crma_training.trainer.spectral import read_spectral
from crma_training.trainer.steps import Part, StepParts
from crma_training.trainer.zclip import Clipping, ZClip

MOST_SKIPPED = 3  # steps in a row; more is no spike, the weights are spoilt
TRAINED, COUNTS = "trained.safetensors", "counts.json"  # of a checkpoint, beside what transformers writes

RowsLoss = Callable[[Any, Sequence[Any], Batch], Tensor]
"""The mean loss per answer token (a scalar) of a model on a batch of rows that are more than examples."""


class LossModel(nn.Module):
    """A causal LM as one module that gives a batch's summed loss: what DDP and FSDP wrap."""

    def __init__(self, model: Any, rows_loss: RowsLoss | None = None, *, shared_prefix: bool = True) -> None:
        """Without `shared_prefix` every row goes through every layer just once, as FSDP wants it."""
        super().__init__()
        self.model, self.rows_loss, self.shared_prefix = model, rows_loss, shared_prefix
        self._no_split_modules = getattr(model, "_no_split_modules", None)  # FSDP shards by these

    def forward(self, rows: Sequence[Any], batch: Batch) -> Tensor:
        """Nats over all answer tokens, a scalar in float32; 0 for a batch without any."""
        if not self.shared_prefix:
            batch = replace(batch, shared=0)
        if self.rows_loss is None or not batch.answer_tokens:
            return answer_loss(self.model, batch, reduction="sum")
        return self.rows_loss(self.model, rows, batch) * batch.answer_tokens


@dataclass(frozen=True)
class Objective:
    """What is minimised and watched.

    Attributes:
        groups: what trains.
        parts: of every step, this process's.
        validation: parts whose loss ends the training and chooses the weights; none without.
        penalty: added to a step's loss (a regulariser; the logged loss is without it).
        attachment: the CRMA in use, whose blocks are logged.
    """

    groups: Sequence[ParameterGroup]
    parts: StepParts
    validation: Sequence[Part] = ()
    penalty: Callable[[], Tensor] | None = None
    attachment: Attachment | None = None


class CrmaTrainer(Trainer):  # type: ignore[misc]
    """Trains the objective's groups. The mean loss is over a step's answer tokens, in whatever parts and on
    however many processes they are computed.

    Raises:
        TrainingError: the loss is not finite, or gradients are not finite step after step.
    """

    loss_is_scaled_for_ga = True
    control: Any
    optimizer: Any

    def __init__(
        self,
        model: LossModel,
        args: TrainingArguments,
        objective: Objective,
        log: MetricsLog,
        *,
        zclip_threshold: float,
        callbacks: list[TrainerCallback],
    ) -> None:
        evaluated = list(objective.validation) or None
        super().__init__(model=model, args=args, eval_dataset=evaluated, callbacks=callbacks)
        self.remove_callback(PrinterCallback)
        self._objective, self._log = objective, log
        self._zclips = {group.name: ZClip(zclip_threshold) for group in objective.groups}
        self._skipped_in_a_row = 0
        self._step = _Step()
        self.answer_tokens = 0

    @property
    def domain(self) -> str:
        """What is trained, by name."""
        return self._log.domain

    # -- what is given to the model, and what is made of its answer

    def get_train_dataloader(self) -> StepParts:
        """The parts themselves: rows are tokens already, and every process takes its own."""
        return self._objective.parts

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        """A part's share of the step's mean loss; times the number of processes, over which gradients are
        averaged.
        """
        part: Part = inputs["part"]
        share = model(part.rows, part.batch) / part.step_answer_tokens
        self._step.add(part, share.detach())
        if not torch.isfinite(share):
            raise TrainingError(
                f"{self._log.domain}: loss is {share.item()} at step {self.state.global_step}; lower "
                "--learning-rate, or use --dtype float32"
            )
        loss = share * self.args.world_size
        if self._objective.penalty is not None:
            loss = loss + self._objective.penalty() / self.args.gradient_accumulation_steps
        return (loss, None) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """`eval_loss`: nats per answer token of the validation rows."""
        wrapped, total, tokens = self.model_wrapped, 0.0, 0
        wrapped.eval()
        with self._log.pause(), torch.no_grad():
            for part in self._objective.validation:
                total += float(wrapped(part.rows, part.batch))
                tokens += part.batch.answer_tokens
        metrics = {"eval_loss": total / tokens}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    # -- the optimizer's step

    def create_optimizer(self, model: nn.Module | None = None) -> Any:  # noqa: ARG002
        """The optimizer that `args.optim` names, over the objective's groups."""
        if self.optimizer is None:
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(
                [
                    {"params": list(g.parameters), "lr": g.learning_rate, "weight_decay": g.weight_decay}
                    for g in self._objective.groups
                ],
                **settings,
            )
        return self.optimizer

    def _clip_grad_norm(self, model: nn.Module) -> float:  # noqa: ARG002
        """ZClip for every group. If the gradients of one are not finite, none takes the step: they come from
        one backward pass.
        """
        pairs = list(zip(self._objective.groups, self.optimizer.param_groups, strict=True))
        clippings = {group.name: self._zclips[group.name].clip(own["params"]) for group, own in pairs}
        rates = {group.name: own["lr"] for group, own in pairs}
        skipped = any(clipping.skipped for clipping in clippings.values())
        self._step.clippings, self._step.rates, self._step.skipped = clippings, rates, skipped
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
        if self._skipped_in_a_row == MOST_SKIPPED:
            norms = ", ".join(f"{name} {clipping.norm}" for name, clipping in clippings.items())
            raise TrainingError(
                f"{self._log.domain}: step {self.state.global_step}: the gradients were not finite "
                f"{MOST_SKIPPED} steps in a row ({norms}); lower --learning-rate, or use --dtype float32"
            )
        if skipped:
            for _, own in pairs:
                for parameter in own["params"]:
                    parameter.grad = None
        return max(clipping.norm for clipping in clippings.values())

    # -- the log

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A step's line of metrics, and what `--report-to` is told."""
        if "loss" in logs and self._step.clippings:
            line = self._metrics()
            self._log.write(line)
            logs = logs | line.flat()
            self._step = _Step()
        super().log(logs, start_time)

    def _metrics(self) -> StepMetrics:
        step, attachment = self._step, self._objective.attachment
        self.answer_tokens += step.answer_tokens
        loss = step.loss
        if self.args.world_size > 1:
            loss = self.accelerator.reduce(loss, reduction="sum")
        return StepMetrics(
            domain=self._log.domain,
            step=self.state.global_step - 1,
            loss=float(loss),
            gradient_norm={name: clipping.norm for name, clipping in step.clippings.items()},
            clipped={name: clipping.clipped for name, clipping in step.clippings.items()},
            learning_rate=step.rates,
            spectral=None if attachment is None or self.is_fsdp_enabled else read_spectral(attachment),
            tokens=step.tokens,
            skipped=step.skipped,
        )

    # -- checkpoints: what trains, not the base model

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Writes the trained parameters and the counts that go on with them."""
        tensors = self.trained()
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, str(folder / TRAINED))
        counts = {
            "answer_tokens": self.answer_tokens,
            "skipped_in_a_row": self._skipped_in_a_row,
            "zclips": {name: zclip.state() for name, zclip in self._zclips.items()},
        }
        (folder / COUNTS).write_text(json.dumps(counts), encoding="utf-8")

    def trained(self) -> dict[str, Tensor]:
        """The trained parameters by group and number, whole, on the CPU."""
        return {name: _whole(value).cpu().contiguous() for name, value in self._trained()}

    def _load_from_checkpoint(
        self,
        resume_from_checkpoint: str,
        model: nn.Module | None = None,  # noqa: ARG002
    ) -> None:
        self.load_trained(Path(resume_from_checkpoint))
        counts = json.loads((Path(resume_from_checkpoint) / COUNTS).read_bytes())
        self.answer_tokens, self._skipped_in_a_row = counts["answer_tokens"], counts["skipped_in_a_row"]
        for name, state in counts["zclips"].items():
            self._zclips[name].restore(state)

    def _load_best_model(self) -> None:
        self.load_trained(Path(self.state.best_model_checkpoint))

    def take_up(self, checkpoint: Checkpoint) -> None:
        """What a training that came to its end left, without training again."""
        self.state = checkpoint.state()
        self._load_from_checkpoint(str(checkpoint.path))
        best = checkpoint.path.with_name(f"checkpoint-{self.state.best_global_step}")
        if self.args.load_best_model_at_end and best.is_dir():
            self.load_trained(best)

    @torch.no_grad()
    def load_trained(self, checkpoint: Path) -> None:
        """Puts a checkpoint's parameters into place."""
        saved = load_file(str(checkpoint / TRAINED))
        for name, parameter in self._trained():
            parameter.copy_(_like(saved[name], parameter))

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters of the groups by number: names change when a model is wrapped."""
        groups = self.optimizer.param_groups if self.optimizer else None
        for index, group in enumerate(self._objective.groups):
            parameters = group.parameters if groups is None else groups[index]["params"]
            for number, parameter in enumerate(parameters):
                yield f"{group.name}.{number}", parameter


class _Step:
    """What is known of the step under way."""

    def __init__(self) -> None:
        self.loss = torch.zeros(())
        self.tokens = self.answer_tokens = 0
        self.clippings: dict[str, Clipping] = {}
        self.rates: dict[str, float] = {}
        self.skipped = False

    def add(self, part: Part, loss: Tensor) -> None:
        """A part's share of the loss; every part knows the whole step's tokens."""
        self.loss = self.loss.to(loss.device) + loss
        self.tokens, self.answer_tokens = part.step_tokens, part.step_answer_tokens


def _whole(value: Tensor) -> Tensor:
    """A tensor with all its shards."""
    found = value.detach()
    return found.full_tensor() if hasattr(found, "full_tensor") else found


def _like(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """`value` sharded as the parameter is."""
    value = value.to(parameter.device)
    from torch.distributed.tensor import DTensor, distribute_tensor

    sharded = parameter.data
    if not isinstance(sharded, DTensor):
        return value
    return distribute_tensor(value, sharded.device_mesh, sharded.placements)
