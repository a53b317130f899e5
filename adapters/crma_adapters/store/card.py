"""The card of an adapter: what it was trained on and how, and how much it helps. Written as `adapter.json`.

Owns: the document. It holds no timestamps: the same training gives the same bytes and the same version.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from crma_adapters.io.document import STRICT, Count, Finite, Positive, parse_document, render_document
from crma_adapters.io.regular_files import read_document
from crma_adapters.store.release import DomainName, Version

CARD_FILE = "adapter.json"
CARD_FORMAT = 1


@dataclass(frozen=True)
class CardData:
    """What the adapter was trained on: rows used for training and held out, where they come from."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rows_train: Count
    rows_holdout: Count
    sources: tuple[str, ...]
    licences: tuple[str, ...]


@dataclass(frozen=True)
class CardTraining:
    """How it was trained. `tokens` counts the tokens the loss was taken on."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    steps: Count
    epochs: Finite
    seed: int
    learning_rate: Finite
    tokens: Count


@dataclass(frozen=True)
class CardLoss:
    """Mean loss on the held-out rows, nats per answer token.

    `base` is the bare base model, `before` the backbone as this domain's training found it, `after` the
    adapter on the backbone as its training left it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    base: Finite
    before: Finite
    after: Finite


@dataclass(frozen=True)
class AdapterCard:
    """What `adapter.json` says. `backbone` is the version trained on, None for a LoRA on the bare base."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: DomainName
    base_model: str
    base_fingerprint: str
    backbone: Version | None
    rank: Positive
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    target_modules: tuple[str, ...]
    data: CardData
    training: CardTraining
    holdout_loss: CardLoss

    def to_json(self) -> bytes:
        """The bytes of `adapter.json`."""
        return render_document(self, format=CARD_FORMAT)

    @classmethod
    def from_json(cls, data: bytes, where: str = CARD_FILE) -> "AdapterCard":
        """Read what `to_json` wrote. Raises as `parse_document`."""
        return parse_document(cls, data, where, format_number=CARD_FORMAT)


def read_card(folder: Path) -> AdapterCard:
    """The card in an adapter folder. Raises `StoreError` if there is none, else as `parse_document`."""
    path = folder / CARD_FILE
    return AdapterCard.from_json(read_document(path), str(path))
