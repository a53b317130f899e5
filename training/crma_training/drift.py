"""How far each adapter of a release moved under the final backbone.

Owns: the measurement. Knows nothing of training steps or of publishing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.attach import attach
from crma_adapters.crma.crma import Crma
from crma_adapters.errors import DataError
from crma_adapters.store.card import AdapterCard
from crma_training.data.tokens import Example
from crma_training.lora import DomainLora
from crma_training.workbench import Task, Workbench

SAME_HOLDOUT = 1e-3  # relative difference of base losses: float32 stays far below, other rows far above


@dataclass(frozen=True)
class TrainedAdapter:
    """A saved adapter folder, its card, and its domain's rows."""

    task: Task
    adapter: Path
    card: AdapterCard


def measure_drift(
    bench: Workbench, crma: Crma, version: str, adapters: Sequence[TrainedAdapter]
) -> dict[str, float | None]:
    """Drift by domain under `crma`, backbone `version`; None for adapters trained on just that version."""
    return {
        item.card.name: None if item.card.backbone == version else _drift(bench, crma, item)
        for item in adapters
    }


def check_same_holdout(bench: Workbench, item: TrainedAdapter) -> None:
    """Raises `DataError` if the task's holdout is not the one of the card: losses could not be compared.

    The bare base model's loss on the rows is their fingerprint, and the card has it.
    """
    rows, loss = len(item.task.holdout), bench.loss(item.task.holdout)
    then = item.card.holdout_loss.base
    if rows != item.card.data.rows_holdout or abs(loss - then) > SAME_HOLDOUT * then:
        raise DataError(
            f"{item.card.name}: not the holdout that its adapter was measured on ({rows} rows with base loss "
            f"{loss:.4f}, its card says {item.card.data.rows_holdout} with {then:.4f}); give the original "
            "data, or train this domain again"
        )


def _drift(bench: Workbench, crma: Crma, item: TrainedAdapter) -> float:
    """(holdout loss under `crma` - loss when it was trained) / the latter; positive is forgetting."""
    then = item.card.holdout_loss.after
    return (loss_under(bench, crma, item, item.task.holdout) - then) / then


def loss_under(bench: Workbench, crma: Crma, item: TrainedAdapter, examples: Sequence[Example]) -> float:
    """Mean answer loss (nats per token) of the saved adapter on `crma`; the model is left bare."""
    with attach(bench.model, crma):
        lora = DomainLora.saved(bench.model, item.adapter)
        loss = bench.loss(examples)
        lora.remove()
    return loss
