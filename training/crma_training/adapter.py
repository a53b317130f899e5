"""A domain's adapter, in training and at work: a LoRA, a mixer (a CRMA of the domain's own), or both."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.crma.attach import Attachment, attach
from crma_adapters.crma.backbone import load_backbone, load_mixer, save_mixer
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.crma_card import MIXER_FILES
from crma_training.config import TrainConfig
from crma_training.lora import DomainLora
from crma_training.saved_lora import WEIGHTS
from crma_training.trainer.groups import ParameterGroup, crma_groups, lora_group
from crma_training.workbench import Workbench


def has_lora(folder: Path) -> bool:
    """Whether a saved adapter holds a LoRA."""
    return (folder / WEIGHTS).exists()


def has_mixer(folder: Path) -> bool:
    """Whether a saved adapter holds a mixer."""
    return (folder / MIXER_FILES.card).exists()


@dataclass(frozen=True)
class DomainAdapter:
    """What is trained for one domain while it is on the model. `attachment` is what CRMAs run through: the
    mixer first, then the backbone; None if there are neither.
    """

    bench: Workbench
    lora: DomainLora | None
    mixer: Crma | None
    backbone: Crma | None
    attachment: Attachment | None

    def groups(self, config: TrainConfig) -> list[ParameterGroup]:
        """Its parameters, unfrozen; not the backbone's."""
        groups = [] if self.lora is None else [lora_group(config, self.lora)]
        if self.mixer is not None:
            self.mixer.unfreeze()
            groups += crma_groups(config, self.mixer, prefix="mixer_")
        return groups

    def parameters(self) -> int:
        """How many numbers it has."""
        lora = 0 if self.lora is None else sum(p.numel() for p in self.lora.parameters())
        return lora + (0 if self.mixer is None else sum(p.numel() for p in self.mixer.parameters()))

    def save(self, folder: Path) -> None:
        """Writes the LoRA and the mixer, those there are, as the store takes them."""
        base = self.bench.base
        if self.lora is not None:
            self.lora.save(folder, base.name)
        if self.mixer is not None:
            save_mixer(self.mixer, folder, base_model=base.name, base_fingerprint=base.fingerprint)

    def load(self, folder: Path) -> None:
        """Replaces the LoRA's weights by the saved ones, which are rounded, so that what is measured is what
        is served; a mixer is saved exactly.
        """
        if self.lora is not None:
            self.lora.load(folder)


@contextmanager
def in_training(
    bench: Workbench, seed: int, *, start: Path | None = None, backbone: Crma | None = None
) -> Iterator[DomainAdapter]:
    """An adapter of the configured kind on the model, over `backbone`: fresh from `seed`, or going on from
    the saved one in `start`.
    """
    config, model = bench.config, bench.model
    mixer = lora = attachment = None
    if config.adapter != "lora":
        mixer = load_mixer(start) if start else _fresh_mixer(model, config, seed)
        mixer.dropout = config.crma_dropout
    with ExitStack() as stack:
        if crmas := [crma for crma in (mixer, backbone) if crma is not None]:
            attachment = stack.enter_context(attach(model, *crmas))
        if config.adapter != "mixer":
            lora = DomainLora.saved(model, start, trainable=True) if start else None
            lora = lora or DomainLora.fresh(model, config, seed)
            stack.callback(lora.remove)
        if backbone is not None:
            backbone.requires_grad_(False)
        yield DomainAdapter(bench, lora, mixer, backbone, attachment)


@contextmanager
def at_work(model: Any, adapter: Path | None, backbone: Path | None = None) -> Iterator[None]:
    """The model as it answers with a saved adapter and a saved backbone, either of which may be left out."""
    crmas = [load_mixer(adapter)] if adapter is not None and has_mixer(adapter) else []
    if backbone is not None:
        crmas.append(load_backbone(backbone))
    with ExitStack() as stack:
        if crmas:
            stack.enter_context(attach(model, *crmas))
        if adapter is not None and has_lora(adapter):
            stack.callback(DomainLora.saved(model, adapter).remove)
        yield


def _fresh_mixer(model: Any, config: TrainConfig, seed: int) -> Crma:
    return Crma.from_model(model, mode=config.mode, rank=config.mixing_rank, seed=seed)
