"""A domain's LoRA: fresh on a base model, saved in PEFT's format, loaded again, taken off.

Owns: what a saved adapter folder holds, byte for byte. Knows nothing of CRMA or of training.
"""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from crma_adapters.errors import ConfigError
from crma_training.config import TrainConfig

WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"


class DomainLora:
    """A LoRA injected into `model`'s linear layers; B starts at zero, so it starts as the identity."""

    def __init__(self, model: Any, settings: LoraConfig) -> None:
        self._settings = settings
        self._peft: Any = get_peft_model(model, settings)

    @classmethod
    def fresh(cls, model: Any, config: TrainConfig, seed: int) -> "DomainLora":
        """A new one, its A drawn from torch's global generator seeded with `seed`.

        Raises:
            ConfigError: the model has none of the target modules.
        """
        settings = LoraConfig(
            r=config.rank,
            lora_alpha=config.lora_alpha,
            target_modules=list(config.target_modules),
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(seed)
        try:
            return cls(model, settings)
        except ValueError as error:
            raise ConfigError(
                f"--target-modules {','.join(config.target_modules)}: this model has no such layers ({error})"
            ) from error

    @classmethod
    def saved(cls, model: Any, directory: Path, *, trainable: bool = False) -> "DomainLora":
        """One that `save` wrote, to be measured, or to go on training."""
        settings = LoraConfig.from_pretrained(str(directory))
        settings.inference_mode = not trainable
        settings.base_model_name_or_path = None  # else PEFT warns that the base model's folder is another one
        lora = cls(model, settings)
        lora.load(directory)
        return lora

    def parameters(self) -> tuple[nn.Parameter, ...]:
        """A and B of every target layer, float32."""
        return tuple(p for name, p in self._peft.named_parameters() if ".lora_" in name)

    def save(self, directory: Path, base_model: str) -> None:
        """Writes bfloat16 weights and sorted settings, no paths or times: equal LoRAs give equal bytes."""
        directory.mkdir(parents=True, exist_ok=True)
        weights = get_peft_model_state_dict(self._peft)
        stored = {
            name: weights[name].detach().to("cpu", torch.bfloat16).contiguous() for name in sorted(weights)
        }
        save_file(stored, str(directory / WEIGHTS), metadata={"format": "pt"})
        settings = {**self._settings.to_dict(), "base_model_name_or_path": base_model, "inference_mode": True}
        text = json.dumps(settings, indent=2, sort_keys=True, default=sorted)
        (directory / SETTINGS).write_text(text + "\n", encoding="utf-8")

    def load(self, directory: Path) -> None:
        """Replaces the weights with saved ones, so that what is measured is what is served."""
        set_peft_model_state_dict(self._peft, load_file(str(directory / WEIGHTS)))

    def remove(self) -> None:
        """Takes the LoRA layers out; the model is as it was before."""
        model: PeftModel = self._peft
        model.unload()
