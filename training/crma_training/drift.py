"""How far each adapter of a release moved under the final backbone.

Owns: the measurement. Knows nothing of training steps or of publishing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.attach import attach
from crma_adapters.card import AdapterCard
from crma_adapters.crma import Crma
from crma_adapters.errors import DataError
from crma_adapters.parts import CARD_FILE
from crma_training.dataset import DomainData
from crma_training.lora import DomainLora
from crma_training.workbench import Workbench

SAME_HOLDOUT = 1e-2  # relative difference of base losses: numerics stay far below, other rows far above


@dataclass(frozen=True)
class TrainedAdapter:
    """A saved adapter folder, its card, and its domain's rows."""

    domain: DomainData
    adapter: Path
    card: AdapterCard

    @classmethod
    def read(cls, domain: DomainData, adapter: Path) -> "TrainedAdapter":
        """Reads the card in the folder."""
        card = adapter / CARD_FILE
        return cls(domain, adapter, AdapterCard.from_json(card.read_bytes(), str(card)))


def measure_drift(
    bench: Workbench, crma: Crma, version: str, adapters: Sequence[TrainedAdapter]
) -> dict[str, float | None]:
    """Drift by domain under `crma`, which is backbone `version`; None for adapters trained on just that version.

    Raises:
        DataError: the holdout rows are not those of the card, so the losses cannot be compared.
    """
    return {
        item.card.name: None if item.card.backbone == version else _drift(bench, crma, item)
        for item in adapters
    }


def _drift(bench: Workbench, crma: Crma, item: TrainedAdapter) -> float:
    """(holdout loss under `crma` - loss when it was trained) / the latter; positive is forgetting."""
    examples = bench.encode(item.domain.holdout)
    then = item.card.holdout_loss
    base = bench.loss(examples)
    if abs(base - then.base) > SAME_HOLDOUT * then.base:
        raise DataError(
            f"{item.card.name}: its holdout is not the one its adapter was measured on (base loss {base:.4f}, "
            f"the card says {then.base:.4f}); give the original data, or train this domain again"
        )
    with attach(bench.model, crma):
        lora = DomainLora.saved(bench.model, item.adapter)
        loss = bench.loss(examples)
        lora.remove()
    return (loss - then.after) / then.after
