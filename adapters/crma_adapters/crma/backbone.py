"""A backbone on disk: `crma.json` says what it is and belongs to, `crma.safetensors` holds its parameters.

Format 1 is a CRMA of form 1 in the spelling of the first releases, format 2 everything since; what was read
is written again with the same bytes.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import ConfigDict
from safetensors.torch import load_file, save
from torch import Tensor

from crma_adapters.crma.config import CrmaConfig, Form1Config
from crma_adapters.crma.crma import Crma
from crma_adapters.errors import ConfigError, IntegrityError
from crma_adapters.io.document import STRICT, parse_document, parse_format, render_document
from crma_adapters.io.regular_files import read_document, sha256_file
from crma_adapters.io.tensor_file import check_finite
from crma_adapters.io.whole_folder import write_folder

CARD_FILE = "crma.json"
TENSORS_FILE = "crma.safetensors"
_FORMATS = (1, 2)


@dataclass(frozen=True)
class BackboneCard:
    """What `crma.json` says: the base model this CRMA was trained on, its form, the digest of its tensors."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    base_model: str
    base_fingerprint: str
    config: CrmaConfig
    tensors_sha256: str


@dataclass(frozen=True)
class _Form1Card:
    """`crma.json` as the first releases wrote it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    base_model: str
    base_fingerprint: str
    config: Form1Config
    tensors_sha256: str


def save_backbone(crma: Crma, directory: Path, *, base_model: str, base_fingerprint: str) -> None:
    """Write `crma` to `directory`, all or nothing, the same bytes for the same parameters.

    Raises `StoreError` if the folder holds anything else, `ConfigError` if a parameter is not finite.
    """
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in crma.state_dict().items()}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ConfigError(f"CRMA parameter {name} is not finite, so it cannot be saved; train it again")
    data = save(tensors, metadata={"format": "pt"})
    card = BackboneCard(base_model, base_fingerprint, crma.config, hashlib.sha256(data).hexdigest())
    write_folder(directory, {TENSORS_FILE: data, CARD_FILE: _render(card)})


def read_backbone_card(directory: Path) -> BackboneCard:
    """What the backbone in `directory` says of itself, without reading its tensors.

    Raises `StoreError` if missing, `IntegrityError` if malformed, `IncompatibleError` for an unknown format.
    """
    path = directory / CARD_FILE
    try:
        return _parse(read_document(path), str(path))
    except ConfigError as error:
        raise IntegrityError(f"{path}: {error}; restore the file, or train the backbone again") from None


def load_backbone(directory: Path) -> Crma:
    """The CRMA saved in `directory`, on the CPU, exactly as it was.

    Raises as `read_backbone_card`, and `IntegrityError` if the tensors are not those it names, or not finite.
    """
    card = read_backbone_card(directory)
    path = directory / TENSORS_FILE
    check_finite(path)
    given = sha256_file(path)
    if given != card.tensors_sha256:
        raise IntegrityError(
            f"{path}: sha256 is {given}, {CARD_FILE} says {card.tensors_sha256}; take both from one training"
        )
    crma = Crma.empty(card.config)
    tensors = load_file(path)
    _check_shapes(tensors, crma, path)
    crma.load_state_dict(tensors)
    return crma


def _render(card: BackboneCard) -> bytes:
    if card.config.form == 1:
        return render_document(card, format=1, config=asdict(Form1Config.of(card.config)))
    return render_document(card, format=2)


def _parse(data: bytes, where: str) -> BackboneCard:
    kind = parse_format(data, where, _FORMATS)
    if kind == 2:
        return parse_document(BackboneCard, data, where, format_number=2)
    card = parse_document(_Form1Card, data, where, format_number=1)
    return BackboneCard(card.base_model, card.base_fingerprint, card.config.current(), card.tensors_sha256)


def _check_shapes(tensors: dict[str, Tensor], crma: Crma, path: Path) -> None:
    given = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
    expected = {name: (tuple(value.shape), torch.float32) for name, value in crma.state_dict().items()}
    for name in sorted(given.keys() | expected.keys()):
        if given.get(name) != expected.get(name):
            raise IntegrityError(
                f"{path}: tensor {name} is {given.get(name, 'missing')}, {CARD_FILE} makes it "
                f"{expected.get(name, 'none')}; take both files from one training"
            )
