"""A domain's LoRA: fresh on a base model, saved in PEFT's format, loaded again, taken off."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import nn

from crma_adapters.errors import ConfigError
from crma_training.config import TrainConfig
from crma_training.saved_lora import WEIGHTS, SavedLora

OWN, EARLIER = "default", "earlier"  # PEFT's names of the LoRA itself and of a frozen one beside it


class DomainLora:
    """A LoRA injected into `model`'s linear layers; B starts at zero, so it starts as the identity."""

    def __init__(self, model: Any, settings: LoraConfig) -> None:
        self._settings = self._beside = settings
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
            lora_dropout=config.lora_dropout,
            use_rslora=config.use_rslora,
            target_modules=_targets(config.target_modules),
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
        lora = cls(model, _saved_settings(directory, trainable))
        lora.load(directory)
        return lora

    def add_frozen(self, directory: Path) -> None:
        """Puts a saved LoRA of any rank beside this one: both change the model, only this one learns."""
        self._peft.add_adapter(EARLIER, _saved_settings(directory, trainable=False))
        set_peft_model_state_dict(self._peft, load_file(str(directory / WEIGHTS)), adapter_name=EARLIER)
        self._peft.base_model.set_adapter([OWN, EARLIER])  # makes all of both trainable
        for name, parameter in self._peft.named_parameters():
            if f".{EARLIER}." in name:
                parameter.requires_grad_(False)

    def add_trainable(self, directory: Path | None, rank: int) -> tuple[nn.Parameter, ...]:
        """Puts another LoRA beside this one, saved or fresh with this one's scaling, and trains both; returns
        its parameters.
        """
        if directory is None:
            alpha = round(self._settings.lora_alpha * rank / self._settings.r)
            settings = replace(self._settings, r=rank, lora_alpha=alpha)
        else:
            settings = _saved_settings(directory, trainable=True)
        self._peft.add_adapter(EARLIER, settings)
        if directory is not None:
            set_peft_model_state_dict(self._peft, load_file(str(directory / WEIGHTS)), adapter_name=EARLIER)
        self._peft.base_model.set_adapter([OWN, EARLIER])  # makes all of both trainable
        self._beside = settings
        return tuple(p for name, p in self._peft.named_parameters() if f".{EARLIER}." in name)

    def save_beside(self, directory: Path, base_model: str) -> None:
        """Writes the LoRA that `add_trainable` put beside this one."""
        settings = {**self._beside.to_dict(), "base_model_name_or_path": base_model, "inference_mode": True}
        SavedLora(get_peft_model_state_dict(self._peft, adapter_name=EARLIER), settings).write(directory)

    def layers(self) -> dict[str, Any]:
        """PEFT's layers by name; `.lora_A[OWN].weight` is (rank, inputs), `.lora_B[OWN].weight` is
        (outputs, rank), and the same under EARLIER after `add_frozen`.
        """
        return {name: part for name, part in self._peft.named_modules() if isinstance(part, LoraLayer)}

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """A and B of every target layer, float32, by name; not those of a frozen one beside it."""
        own = {name: p for name, p in self._peft.named_parameters() if ".lora_" in name}
        return {name: p for name, p in own.items() if f".{OWN}." in name}

    def parameters(self) -> tuple[nn.Parameter, ...]:
        """`named_parameters` without names."""
        return tuple(self.named_parameters().values())

    def save(self, directory: Path, base_model: str) -> None:
        """Writes the LoRA as `SavedLora.write` does; not a frozen one beside it."""
        settings = {**self._settings.to_dict(), "base_model_name_or_path": base_model, "inference_mode": True}
        SavedLora(get_peft_model_state_dict(self._peft), settings).write(directory)

    def load(self, directory: Path) -> None:
        """Replaces the weights with saved ones, so that what is measured is what is served."""
        set_peft_model_state_dict(self._peft, load_file(str(directory / WEIGHTS)))

    def remove(self) -> None:
        """Takes the LoRA layers out; the model is as it was before."""
        model: PeftModel = self._peft
        model.unload()


def _targets(target_modules: tuple[str, ...]) -> list[str] | str:
    """PEFT's form: names, or one text that is `all-linear` or a regular expression of full names."""
    one = target_modules[0] if len(target_modules) == 1 else ""
    return one if one == "all-linear" or re.search(r"[^\w.]", one) else list(target_modules)


def _saved_settings(directory: Path, trainable: bool) -> LoraConfig:
    settings = LoraConfig.from_pretrained(str(directory))
    settings.inference_mode = not trainable
    settings.base_model_name_or_path = None  # else PEFT warns that the base model's folder is another one
    return settings
