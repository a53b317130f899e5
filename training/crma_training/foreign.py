"""The card of a LoRA that was trained elsewhere: what is known of it, and what was measured here."""

from pathlib import Path

from crma_adapters.lora.plain_lora import read_plain_lora
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.card import CARD_FILE, AdapterCard, CardData, CardLoss, CardTraining
from crma_training.workbench import Task

ELSEWHERE = CardTraining(steps=0, epochs=0.0, seed=0, learning_rate=0.0, tokens=0)


def card_of(folder: Path, base: BaseModel, task: Task, before: float, after: float) -> AdapterCard:
    """Writes the card into the LoRA's folder and returns it; losses are of the examples, nats per token."""
    lora = read_plain_lora(folder)
    rows = task.domain.train
    card = AdapterCard(
        name=task.name,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=None,
        rank=lora.rank,
        alpha=lora.alpha,
        target_modules=tuple(lora.target_modules),
        data=CardData(
            rows_train=0,
            rows_holdout=len(task.holdout),
            sources=tuple(sorted({row.source for row in rows if row.source})),
            licences=tuple(sorted({row.licence for row in rows if row.licence})),
        ),
        training=ELSEWHERE,
        holdout_loss=CardLoss(base=before, before=before, after=after),
        parameters=sum(tensor.numel() for tensor in lora.tensors.values()),
    )
    (folder / CARD_FILE).write_bytes(card.to_json())
    return card
