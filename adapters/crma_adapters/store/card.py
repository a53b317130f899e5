"""The card of an adapter: what it was trained on and how, and how much it helps. Written as `adapter.json`.

It holds no timestamps: the same training gives the same bytes and the same version. Format 1 is the card of a
LoRA, without the fields that came later.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from crma_adapters.errors import IntegrityError
from crma_adapters.io.document import (
    STRICT,
    Count,
    Finite,
    Positive,
    parse_document,
    parse_format,
    render_document,
)
from crma_adapters.io.regular_files import read_document
from crma_adapters.store.release import DomainName, NonNegative, Version

CARD_FILE = "adapter.json"
CARD_FORMATS = (1, 2)

Kind = Literal["lora", "mixer", "both"]
StartMethod = Literal["fresh", "previous", "mean", "nearest"]


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
class CardValidation:
    """Mean loss on the validation rows, nats per answer token, and the standard error of that mean."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    mean: Finite
    standard_error: NonNegative
    rows: Positive


@dataclass(frozen=True)
class CardStart:
    """What the adapter started from: `fresh`, or the named adapters (`legal@<version>`)."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    method: StartMethod
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class AdapterCard:
    """What `adapter.json` says. `backbone` is the version trained on, None for an adapter of the bare base.

    `kind` is what the domain has: a LoRA, a mixer (a CRMA of its own) or both. `rank`, `alpha` and
    `target_modules` are the LoRA's; for a mixer alone they are those it has in a bundle: its rank twice, and
    `residual_mixer`. `mixing_rank` is the mixer's rank, None without one. `parameters` counts those trained
    for this domain alone. The last four fields are None where nothing was said, as in old cards.
    """

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
    kind: Kind = "lora"
    mixing_rank: Positive | None = None
    validation_loss: CardValidation | None = None
    start: CardStart | None = None
    parameters: Count | None = None

    @property
    def format(self) -> int:
        """1 for a card that says nothing that is not in old ones."""
        return 1 if self.kind == "lora" and all(value is None for value in self._optional().values()) else 2

    def to_json(self) -> bytes:
        """The bytes of `adapter.json`; those it had if this was read from one of format 1."""
        omit = [name for name, value in self._optional().items() if value is None]
        return render_document(self, omit=omit if self.format > 1 else [*omit, "kind"], format=self.format)

    @classmethod
    def from_json(cls, data: bytes, where: str = CARD_FILE) -> "AdapterCard":
        """Read what `to_json` wrote. Raises as `parse_document`."""
        number = parse_format(data, where, CARD_FORMATS)
        card = parse_document(cls, data, where, format_number=number)
        if number < card.format:
            raise IntegrityError(f"{where}: has keys that came with format 2, in format 1; restore the file")
        if (card.kind == "lora") != (card.mixing_rank is None):
            raise IntegrityError(
                f"{where}: mixing_rank: {card.mixing_rank} for kind {card.kind!r}; expected a rank for a "
                f"mixer, "
                "and none without one; train it again"
            )
        return card

    def _optional(self) -> dict[str, Any]:
        names = ("mixing_rank", "validation_loss", "start", "parameters")
        return {name: getattr(self, name) for name in names}


def read_card(folder: Path) -> AdapterCard:
    """The card in an adapter folder. Raises `StoreError` if there is none, else as `parse_document`."""
    path = folder / CARD_FILE
    return AdapterCard.from_json(read_document(path), str(path))
