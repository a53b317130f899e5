"""One domain: a fresh LoRA trained together with the CRMA backbone, saved, measured.

Owns: the training loop and what a finished domain leaves behind. Knows nothing of other domains or of releases.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from crma_adapters.attach import Attachment, attach
from crma_adapters.backbone import save_backbone
from crma_adapters.card import AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.crma import Crma
from crma_adapters.errors import TrainingError
from crma_adapters.parts import BACKBONE as BACKBONE_PART
from crma_adapters.parts import CARD_FILE, describe_part
from crma_training.config import TrainConfig
from crma_training.dataset import DomainData
from crma_training.lora import DomainLora
from crma_training.losses import answer_loss
from crma_training.metrics import MetricsLog, StepMetrics
from crma_training.optimize import GroupOptimizer, ParameterGroup
from crma_training.spectral import read_spectral
from crma_training.tokens import Example, collate, training_order
from crma_training.workbench import Workbench

ADAPTER, BACKBONE = "adapter", "backbone"


def train_domain(bench: Workbench, crma: Crma, domain: DomainData, folder: Path) -> AdapterCard:
    """Trains `domain`; writes its LoRA with its card, the backbone's snapshot and the metrics into `folder`.

    Raises:
        TrainingError: the loss is not finite, or a frozen weight changed.
    """
    config = bench.config
    train, holdout = bench.encode(domain.train), bench.encode(domain.holdout)
    steps = config.steps or config.epochs * math.ceil(len(train) / config.batch_size)
    weights = bench.weights_digest()
    loss_base = bench.loss(holdout)
    with attach(bench.model, crma) as attachment:
        loss_before = bench.loss(holdout)
        lora = DomainLora.fresh(bench.model, config, domain_seed(config.seed, domain.name))
        with MetricsLog(folder, domain.name, steps) as log:
            answer_tokens = _fit(bench, attachment, lora, train, steps, log)
        lora.save(folder / ADAPTER, bench.base.name)
        lora.load(folder / ADAPTER)
        loss_after = bench.loss(holdout)
        lora.remove()
    if bench.weights_digest() != weights:
        raise TrainingError(
            f"{domain.name}: frozen weights of the base model changed in training; this is a bug"
        )
    base = bench.base
    save_backbone(crma, folder / BACKBONE, base_model=base.name, base_fingerprint=base.fingerprint)
    card = AdapterCard(
        name=domain.name,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=backbone_version(folder / BACKBONE),
        rank=config.rank,
        alpha=config.lora_alpha,
        target_modules=config.target_modules,
        data=CardData(
            rows_train=len(train),
            rows_holdout=len(holdout),
            sources=_distinct(row.source for row in domain.train),
            licences=_distinct(row.licence for row in domain.train),
        ),
        training=CardTraining(
            steps=steps,
            epochs=round(steps * config.batch_size / len(train), 3),
            seed=config.seed,
            learning_rate=config.learning_rate,
            tokens=answer_tokens,
        ),
        holdout_loss=CardLoss(base=loss_base, before=loss_before, after=loss_after),
    )
    (folder / ADAPTER / CARD_FILE).write_bytes(card.to_json())
    return card


def _fit(
    bench: Workbench,
    attachment: Attachment,
    lora: DomainLora,
    train: Sequence[Example],
    steps: int,
    log: MetricsLog,
) -> int:
    """The loop; returns the number of answer tokens learnt from."""
    config = bench.config
    optimizer = GroupOptimizer(
        parameter_groups(config, lora, attachment.crma),
        steps=steps,
        schedule=config.schedule,
        warmup=config.warmup,
        zclip_threshold=config.zclip_threshold,
    )
    attachment.record_updates = True
    bench.model.train()
    answer_tokens = 0
    order = training_order(train, config.batch_size, steps, seed=f"{config.seed}/{log.domain}")
    for step, indices in enumerate(order):
        batch = collate([train[index] for index in indices], bench.pad_id)
        loss = answer_loss(bench.model, batch)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"{log.domain}: loss is {loss.item()} at step {step}; lower --learning-rate or use --dtype float32"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        update = optimizer.step(step)
        log.write(
            StepMetrics(
                domain=log.domain,
                step=step,
                loss=loss.item(),
                gradient_norm={name: clipping.norm for name, clipping in update.clippings.items()},
                clipped={name: clipping.clipped for name, clipping in update.clippings.items()},
                learning_rate=update.learning_rates,
                spectral=read_spectral(attachment),
                tokens=batch.tokens,
            )
        )
        answer_tokens += batch.answer_tokens
    attachment.record_updates = False
    return answer_tokens


def parameter_groups(config: TrainConfig, lora: DomainLora, crma: Crma) -> list[ParameterGroup]:
    """The LoRA and, unless the backbone is frozen, CRMA's projections, logits and gates."""
    groups = [ParameterGroup("lora", lora.parameters(), config.learning_rate, config.weight_decay)]
    if config.freeze_backbone:
        crma.requires_grad_(False)
    found = crma.parameter_groups()
    settings = {
        "projections": (config.crma_learning_rate, config.weight_decay),
        "logits": (config.logits_learning_rate, 0.0),
        "alpha": (config.alpha_learning_rate, 0.0),
    }
    for name, (rate, decay) in settings.items():
        if found[name]:
            groups.append(ParameterGroup(name, tuple(found[name]), rate, decay))
    return groups


def backbone_version(folder: Path) -> str:
    """The version a saved backbone has in any store."""
    return describe_part(folder, BACKBONE_PART).version


def domain_seed(seed: int, name: str) -> int:
    """A domain's own seed, so that its LoRA does not depend on which domains ran before in this process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]) >> 1


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))
