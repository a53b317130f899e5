"""ZClip: clips a gradient norm that is an outlier against its own recent history (arXiv 2504.02507)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

SMOOTHING = 0.97  # the paper's EMA factor
WARMUP_STEPS = 25  # the paper's; mean and variance of these norms start the EMA
EPSILON = 1e-6


@dataclass(frozen=True)
class Clipping:
    """One group at one step: its L2 gradient norm before, and the norm it was scaled to."""

    norm: float
    clipped_norm: float
    skipped: bool = False  # the gradients were not finite, so this group takes no step

    @property
    def clipped(self) -> bool:
        """True if the gradient was scaled down."""
        return not self.skipped and self.clipped_norm < self.norm


@dataclass
class ZClip:
    """With z = (g - mean) / std, a norm with z > threshold becomes mean + threshold**2 / z * std (paper,
    section 3).

    The farther out, the closer to the mean it lands. The statistics take in the clipped norm, so a spike does
    not raise the bar for the next one. No clipping during the warm-up.
    """

    threshold: float = 2.5
    _warmup: list[float] = field(default_factory=list)
    _mean: float = 0.0
    _variance: float = 0.0

    def state(self) -> dict[str, Any]:
        """The statistics so far, as JSON values."""
        return {"warmup": list(self._warmup), "mean": self._mean, "variance": self._variance}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self._warmup, self._mean, self._variance = list(state["warmup"]), state["mean"], state["variance"]

    def limit(self, norm: float) -> float:
        """The norm that a gradient of `norm` may keep; updates the statistics. A norm that is not finite
        keeps 0.
        """
        if not math.isfinite(norm):
            return 0.0
        if len(self._warmup) < WARMUP_STEPS:
            self._warm_up(norm)
            return norm
        deviation = math.sqrt(self._variance)
        z = (norm - self._mean) / (deviation + EPSILON)
        allowed = self._mean + self.threshold**2 / z * deviation if z > self.threshold else norm
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * allowed
        self._variance = SMOOTHING * self._variance + (1 - SMOOTHING) * (allowed - self._mean) ** 2
        return allowed

    def clip(self, parameters: Sequence[torch.nn.Parameter]) -> Clipping:
        """Scales the parameters' gradients in place to the allowed joint L2 norm.

        Where that norm is not finite (an infinite or NaN entry, or a sum of squares beyond float32) nothing
        can be scaled: the gradients are dropped, so that an optimizer leaves the parameters and its own
        moments as they are, and the step is marked as skipped.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = _joint_norm(gradients)
        if not math.isfinite(norm):
            for parameter in parameters:
                parameter.grad = None
            return Clipping(norm, 0.0, skipped=True)
        allowed = self.limit(norm)
        if allowed < norm:
            for gradient in gradients:
                gradient.mul_(allowed / norm)
        return Clipping(norm, min(allowed, norm))

    def _warm_up(self, norm: float) -> None:
        self._warmup.append(norm)
        if len(self._warmup) == WARMUP_STEPS:
            self._mean = sum(self._warmup) / WARMUP_STEPS
            self._variance = sum((value - self._mean) ** 2 for value in self._warmup) / WARMUP_STEPS


def _joint_norm(gradients: Sequence[torch.Tensor]) -> float:
    """The L2 norm of all of them together, over all their shards."""
    if not gradients:
        return 0.0
    norm = torch.nn.utils.get_total_norm(gradients)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
