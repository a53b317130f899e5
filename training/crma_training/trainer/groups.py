"""Parameter groups: what trains, each kind at its own learning rate and weight decay."""

from dataclasses import dataclass

import torch

from crma_adapters.crma.crma import Crma
from crma_training.config import TrainConfig
from crma_training.lora import DomainLora


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a peak learning rate and a weight decay."""

    name: str
    parameters: tuple[torch.nn.Parameter, ...]
    learning_rate: float
    weight_decay: float


def parameter_groups(config: TrainConfig, lora: DomainLora, crma: Crma) -> list[ParameterGroup]:
    """The LoRA and, unless the backbone is frozen, CRMA's projections and logits."""
    groups = [lora_group(config, lora)]
    if config.freeze_backbone:
        crma.requires_grad_(False)
    else:
        crma.unfreeze()
    return groups + crma_groups(config, crma)


def crma_groups(config: TrainConfig, crma: Crma, prefix: str = "") -> list[ParameterGroup]:
    """A CRMA's projections and logits that are not frozen; `prefix` tells a mixer's from a backbone's."""
    settings = {
        "projections": (config.crma_learning_rate, config.crma_weight_decay),
        "logits": (config.logits_learning_rate, 0.0),
    }
    found = crma.parameter_groups()
    return [
        ParameterGroup(prefix + name, tuple(found[name]), *rates)
        for name, rates in settings.items()
        if found[name]
    ]


def lora_group(config: TrainConfig, lora: DomainLora) -> ParameterGroup:
    """A and B of the LoRA."""
    return ParameterGroup("lora", lora.parameters(), config.learning_rate, config.weight_decay)
