"""A LoRA as a folder in PEFT's format, byte for byte, and several of them side by side as one."""

import json
import math
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

    @property
    def scaling(self) -> float:
        """What B A is multiplied with: alpha / rank, for rsLoRA alpha / sqrt(rank)."""
        rank = self.settings["r"]
        return float(self.settings["lora_alpha"] / (rank**0.5 if self.settings.get("use_rslora") else rank))

    def delta(self, layer: str) -> Tensor:
        """What it adds to a layer's weight, (outputs, inputs) float32."""
        return self.scaling * (self.weights[layer + B].float() @ self.weights[layer + A].float())


def stacked(parts: Sequence[SavedLora], *, mean: bool = False) -> SavedLora:
    """One LoRA whose update is exactly the sum of the parts' updates, or their mean.

    A's rows and B's columns stand side by side, unchanged; ranks add up, and alpha is what keeps the scaling,
    for the mean divided by the number of parts. An rsLoRA becomes a plain one.

    Raises:
        TrainingError: the parts differ in scaling.
    """
    rank = sum(part.settings["r"] for part in parts)
    scalings = [part.scaling for part in parts]
    if not all(math.isclose(scaling, scalings[0], rel_tol=1e-6) for scaling in scalings):
        raise TrainingError(f"LoRAs of different scaling cannot be stacked: they are {scalings}")
    weights = {}
    for layer in parts[0].layers:
        weights[layer + A] = torch.cat([part.weights[layer + A] for part in parts], dim=0)
        weights[layer + B] = torch.cat([part.weights[layer + B] for part in parts], dim=1)
    alpha = scalings[0] * rank / (len(parts) if mean else 1)
    alpha = round(alpha) if math.isclose(alpha, round(alpha), rel_tol=1e-6) else alpha
    return SavedLora(weights, {**parts[0].settings, "r": rank, "lora_alpha": alpha, "use_rslora": False})
