"""Training under FSDP: a copy of the model is sharded, the model itself stays whole to be measured."""

import copy
import os
from collections.abc import Sequence
from dataclasses import replace

import torch

from crma_training.trainer.groups import ParameterGroup
from crma_training.trainer.trainer import CrmaTrainer, LossModel


def is_sharded() -> bool:
    """Whether `accelerate launch --use_fsdp` started this process."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true")


def copied(model: LossModel, groups: Sequence[ParameterGroup]) -> tuple[LossModel, list[ParameterGroup]]:
    """A copy to be sharded, and the groups of its own parameters."""
    twin = copy.deepcopy(model)
    pairs = zip(model.parameters(), twin.parameters(), strict=True)
    of = {id(parameter): other for parameter, other in pairs}
    return twin, [replace(g, parameters=tuple(of[id(p)] for p in g.parameters)) for g in groups]


@torch.no_grad()
def bring_back(trainer: CrmaTrainer, groups: Sequence[ParameterGroup]) -> None:
    """Puts what the sharded copy has learnt into the model itself; every process has to call it."""
    whole = trainer.trained()
    for group in groups:
        for number, parameter in enumerate(group.parameters):
            parameter.copy_(whole[f"{group.name}.{number}"])
