"""The optimizer of one domain: parameter groups with own rates, warm-up, decay and a ZClip each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from crma_adapters.errors import TrainingError
from crma_training.zclip import Clipping, ZClip

MOST_SKIPPED = 3  # steps in a row; more is no spike, the weights are spoilt


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a peak learning rate and a weight decay."""

    name: str
    parameters: tuple[torch.nn.Parameter, ...]
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class Update:
    """What one optimizer step did, by group name."""

    clippings: dict[str, Clipping]
    learning_rates: dict[str, float]

    @property
    def skipped(self) -> bool:
        """Whether nothing was updated, because a group's gradients were not finite."""
        return any(clipping.skipped for clipping in self.clippings.values())


def rate_factor(step: int, steps: int, schedule: str, warmup: float) -> float:
    """Share of the peak rate at `step` of `steps` (from 0): linear rise, then cosine or linear towards 0."""
    rising = math.ceil(steps * warmup)
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else 1 - progress


class GroupOptimizer:
    """AdamW over parameter groups; its state lives for one domain."""

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        *,
        steps: int,
        schedule: str,
        warmup: float,
        zclip_threshold: float,
    ) -> None:
        self._groups = tuple(groups)
        self._steps, self._schedule, self._warmup = steps, schedule, warmup
        self._skipped_in_a_row = 0
        self._zclips = {group.name: ZClip(zclip_threshold) for group in groups}
        self._adamw = torch.optim.AdamW(
            [
                {"params": list(g.parameters), "lr": g.learning_rate, "weight_decay": g.weight_decay}
                for g in groups
            ],
            fused=True,
        )

    def step(self, index: int) -> Update:
        """Clips, updates and clears the gradients; `index` is the step, from 0.

        If the gradients of one group are not finite, no group is updated: they come from one backward pass.

        Raises:
            TrainingError: they are not finite step after step.
        """
        factor = rate_factor(index, self._steps, self._schedule, self._warmup)
        clippings, rates = {}, {}
        for group, state in zip(self._groups, self._adamw.param_groups, strict=True):
            clippings[group.name] = self._zclips[group.name].clip(group.parameters)
            rates[group.name] = state["lr"] = group.learning_rate * factor
        update = Update(clippings, rates)
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if update.skipped else 0
        if self._skipped_in_a_row == MOST_SKIPPED:
            norms = ", ".join(f"{name} {clipping.norm}" for name, clipping in clippings.items())
            raise TrainingError(
                f"step {index}: the gradients were not finite {MOST_SKIPPED} steps in a row ({norms}); "
                "lower --learning-rate, or use --dtype float32"
            )
        if not update.skipped:
            self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        return update
