"""Learning one domain: its adapter on the model, trained, saved; `crma-train` and every method do it so."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from crma_adapters.crma.crma import Crma
from crma_training.adapter import DomainAdapter, in_training
from crma_training.data.tokens import Example
from crma_training.fit import Batches, crma_groups, fit
from crma_training.metrics import LoggedStep, MetricsLog
from crma_training.workbench import Workbench

ADAPTER, BACKBONE = "adapter", "backbone"  # a finished domain's folders

Watch = Callable[[int], bool | None]


@dataclass(frozen=True)
class Learnt:
    """What training a domain came to.

    Attributes:
        answer_tokens: learnt from.
        parameters: of the adapter.
        steps: optimizer steps done; fewer than asked for when it stopped early.
        kept_step: the step whose weights were kept; `steps` without validation.
    """

    answer_tokens: int
    parameters: int
    steps: int
    kept_step: int


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
) -> Learnt:
    """Trains an adapter of `bench.config.adapter`'s kind and saves it as `folder/adapter`.

    `backbone` stands under it, frozen unless `train_backbone`. `only_logits` trains nothing of a mixer but
    its M, from the start of M. With `validation` rows training stops when their loss has not fallen for
    `patience` measurements, and the best weights are kept. `watch` makes what is called with the number of
    steps done; `penalty` what is added to each batch's loss.

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
            trained = tuple(parameter for group in groups for parameter in group.parameters)
            best = BestWeights(bench, trained, validation, log)
            watches: list[Watch] = [best.watch] if validation else []
            watches += [watch(adapter, log)] if watch else []

            def look(done: int) -> bool:
                return any([bool(each(done)) for each in watches])

            tokens = fit(
                bench,
                groups,
                batches,
                log,
                attachment=adapter.attachment,
                penalty=penalty(adapter) if penalty else None,
                watch=look,
            )
        best.restore()
        adapter.save(folder / ADAPTER)
        return Learnt(tokens, adapter.parameters(), best.done, best.kept_step)


class BestWeights:
    """Early stopping: measures the validation loss, remembers the weights where it was least."""

    def __init__(
        self,
        bench: Workbench,
        parameters: tuple[torch.nn.Parameter, ...],
        validation: tuple[Example, ...],
        log: MetricsLog,
    ) -> None:
        self._bench, self._parameters, self._validation, self._log = bench, parameters, validation, log
        self._least, self._worse = float("inf"), 0
        self._kept: list[Tensor] = []
        self.done = self.kept_step = log.steps

    def watch(self, done: int) -> bool:
        """Measures where it is time to; True when training should end."""
        config = self._bench.config
        every = config.validate_every or max(1, round(self._log.steps / config.epochs / 2))
        if done == 0 or (done % every and done != self._log.steps):
            return False
        training = self._bench.model.training
        with self._log.pause():
            loss = self._bench.loss(self._validation)
        self._bench.model.train(training)
        self.done = done
        if loss < self._least:
            self._least, self._worse, self.kept_step = loss, 0, done
            self._kept = [parameter.detach().clone() for parameter in self._parameters]
        else:
            self._worse += 1
        return self._worse >= config.patience

    def restore(self) -> None:
        """Puts the best weights back, if any were measured."""
        with torch.no_grad():
            for parameter, kept in zip(self._parameters, self._kept, strict=bool(self._kept)):
                parameter.copy_(kept)


def domain_seed(seed: int, name: str) -> int:
    """A domain's own seed: its adapter does not depend on which domains ran before in this process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]) >> 1
