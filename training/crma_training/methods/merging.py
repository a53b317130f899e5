"""Merging: FROZEN's LoRAs made into one after their training, by mean or by TIES."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from peft.utils.merge_utils import ties

from crma_training.learn import ADAPTER
from crma_training.low_rank import factors
from crma_training.methods.method import Lesson, Serving
from crma_training.saved_lora import A, B, SavedLora, stacked


@dataclass(frozen=True)
class Merging:
    """One LoRA for all domains, merged from the LoRAs that FROZEN trained so far; nothing is trained.

    "mean": the mean of the updates ΔW, exactly (model soups, Wortsman et al. 2022, arXiv:2203.05482).
    "ties": TIES-Merging (Yadav et al. 2023, arXiv:2306.01708, algorithm 1) of the updates ΔW: trim each to
    its largest `density`, elect a sign per weight, mean over those that agree (PEFT's `merge_utils.ties`).
    density 0.2 and scale 1 are the paper's values for merging without validation data. Two deviations: the
    merged ΔW is no longer of low rank and is saved as its best approximation of rank `rank` (or the parts'
    ranks together, if that is more); and it is ΔW that is merged, as in the paper, not A and B one by one as
    in PEFT's "ties", which adds up coordinates that have nothing in common, for every LoRA has drawn its own
    A. One LoRA alone stays as it is.
    """

    name: str
    combination: Literal["mean", "ties"]
    density: float = 0.2
    rank: int = 64
    basis: str = "frozen"

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        parts = [SavedLora.read(stage / ADAPTER) for stage in lesson.basis[: lesson.index + 1]]
        if self.combination == "mean" or len(parts) == 1:
            merged = stacked(parts, mean=True)
        else:
            merged = self._ties(parts)
        merged.write(folder / ADAPTER)

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:  # noqa: ARG002
        """The merged LoRA, whatever the domain."""
        return Serving(stages[-1] / ADAPTER)

    def _ties(self, parts: Sequence[SavedLora]) -> SavedLora:
        rank = max(self.rank, sum(part.settings["r"] for part in parts))
        weights = {}
        for layer in parts[0].layers:
            deltas = [part.delta(layer) for part in parts]
            merged = ties(deltas, torch.ones(len(deltas)), self.density)
            weights[layer + A], weights[layer + B] = factors(merged, rank)
        settings = {**parts[0].settings, "r": rank, "lora_alpha": rank, "use_rslora": False}
        return SavedLora(weights, settings)
