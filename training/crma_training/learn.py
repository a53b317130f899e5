"""Learning one domain: its adapter on the model, trained, saved; `crma-train` and every method do it so."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from crma_adapters.crma.crma import Crma
from crma_training.adapter import DomainAdapter, in_training
from crma_training.data.tokens import Example
from crma_training.fit import Batches, Fitted, fit
from crma_training.trainer.groups import crma_groups
from crma_training.trainer.metrics import LoggedStep, MetricsLog
from crma_training.workbench import Workbench

ADAPTER, BACKBONE = "adapter", "backbone"  # a finished domain's folders

Watch = Callable[[int], None]


@dataclass(frozen=True)
class Learnt:
    """What training a domain came to: how it went, and how many parameters the adapter has."""

    fitted: Fitted
    parameters: int


def learn_domain(
    bench: Workbench,
    name: str,
    batches: Batches,
    steps: int,
    folder: Path,
    *,
    start: Path | None = None,
    backbone: Crma | None = None,
    train_backbone: bool = False,
    only_logits: bool = False,
    validation: tuple[Example, ...] = (),
    watch: Callable[[DomainAdapter, MetricsLog], Watch] | None = None,
    on_step: Callable[[LoggedStep], None] | None = None,
    penalty: Callable[[DomainAdapter], Callable[[], Tensor]] | None = None,
    resumable: bool = False,
) -> Learnt:
    """Trains an adapter of `bench.config.adapter`'s kind and saves it as `folder/adapter`.

    `backbone` stands under it, frozen unless `train_backbone`. `only_logits` trains nothing of a mixer but
    its M, from the start of M. With `validation` rows training stops when their loss has not fallen for
    `patience` measurements, and the best weights are kept. `watch` makes what is called with the number of
    steps done; `penalty` what is added to each batch's loss. A `resumable` training goes on from its last
    checkpoint in `folder`, and leaves its checkpoints there.

    Raises:
        TrainingError: the loss is not finite.
    """
    config = bench.config
    with in_training(bench, domain_seed(config.seed, name), start=start, backbone=backbone) as adapter:
        groups = adapter.groups(config)
        if only_logits and adapter.mixer is not None:
            adapter.mixer.restart_logits()
            groups = [group for group in groups if group.name == "mixer_logits"]
        if backbone is not None and train_backbone:
            backbone.unfreeze()
            groups += crma_groups(config, backbone)
        with MetricsLog(folder, name, steps, on_step) as log:
            fitted = fit(
                bench,
                groups,
                batches,
                log,
                attachment=adapter.attachment,
                penalty=penalty(adapter) if penalty else None,
                watch=watch(adapter, log) if watch else None,
                validation=validation,
                seed=domain_seed(config.seed, name),
                resumable=resumable,
            )
        adapter.save(folder / ADAPTER)
        return Learnt(fitted, adapter.parameters())


def domain_seed(seed: int, name: str) -> int:
    """A domain's own seed: its adapter does not depend on which domains ran before in this process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]) >> 1
