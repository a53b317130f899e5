"""A LoRA as a folder in PEFT's format, and several of them side by side as one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crma_adapters.errors import TrainingError

WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
A, B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class SavedLora:
    """Weights by PEFT's names (A: (rank, inputs), B: (outputs, rank)) and PEFT's settings as plain JSON."""

    weights: dict[str, Tensor]
    settings: dict[str, Any]

    @classmethod
    def read(cls, directory: Path) -> "SavedLora":
        """What `write` wrote."""
        settings = json.loads((directory / SETTINGS).read_text(encoding="utf-8"))
        return cls(load_file(str(directory / WEIGHTS)), settings)

    def write(self, directory: Path) -> None:
        """Writes bfloat16 weights and sorted settings, no paths or times: equal LoRAs give equal bytes."""
        directory.mkdir(parents=True, exist_ok=True)
        stored = {
            name: self.weights[name].detach().to("cpu", torch.bfloat16).contiguous()
            for name in sorted(self.weights)
        }
        save_file(stored, str(directory / WEIGHTS), metadata={"format": "pt"})
        text = json.dumps(self.settings, indent=2, sort_keys=True, default=sorted)
        (directory / SETTINGS).write_text(text + "\n", encoding="utf-8")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers it changes."""
        return tuple(sorted(name.removesuffix(A) for name in self.weights if name.endswith(A)))

    def delta(self, layer: str) -> Tensor:
        """What it adds to a layer's weight, (outputs, inputs) float32."""
        scaling = float(self.settings["lora_alpha"] / self.settings["r"])
        return scaling * (self.weights[layer + B].float() @ self.weights[layer + A].float())


def stacked(parts: Sequence[SavedLora], *, mean: bool = False) -> SavedLora:
    """One LoRA whose update is exactly the sum of the parts' updates, or their mean.

    A's rows and B's columns stand side by side, unchanged; rank and alpha add up, so alpha / rank stays. For
    the mean alpha is that of one part, so that alpha / rank is divided by the number of parts.

    Raises:
        TrainingError: the parts differ in alpha / rank, or (for the mean) in alpha.
    """
    ranks = [part.settings["r"] for part in parts]
    alphas = [part.settings["lora_alpha"] for part in parts]
    pairs = list(zip(alphas, ranks, strict=True))
    if any(alpha * ranks[0] != alphas[0] * rank or (mean and alpha != alphas[0]) for alpha, rank in pairs):
        raise TrainingError(f"LoRAs of different scaling cannot be stacked: (alpha, rank) are {pairs}")
    weights = {}
    for layer in parts[0].layers:
        weights[layer + A] = torch.cat([part.weights[layer + A] for part in parts], dim=0)
        weights[layer + B] = torch.cat([part.weights[layer + B] for part in parts], dim=1)
    alpha = alphas[0] if mean else sum(alphas)
    return SavedLora(weights, {**parts[0].settings, "r": sum(ranks), "lora_alpha": alpha})
