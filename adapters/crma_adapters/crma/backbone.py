"""A backbone on disk: `crma.json` says what it is and belongs to, `crma.safetensors` holds its parameters.

Owns: those two files. Knows nothing of versions and releases, which are the store's.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import ConfigDict
from safetensors.torch import load_file, save
from torch import Tensor

from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma import Crma
from crma_adapters.errors import ConfigError, IntegrityError
from crma_adapters.io.document import STRICT, parse_document, render_document
from crma_adapters.io.regular_files import read_document, sha256_file
from crma_adapters.io.tensor_file import check_finite
from crma_adapters.io.whole_folder import write_folder

CARD_FILE = "crma.json"
TENSORS_FILE = "crma.safetensors"
_FORMAT = 1


@dataclass(frozen=True)
class BackboneCard:
    """What `crma.json` says: the base model this CRMA was trained on, its form, the digest of its tensors."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    base_model: str
    base_fingerprint: str
    config: CrmaConfig
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
    write_folder(directory, {TENSORS_FILE: data, CARD_FILE: render_document(card, format=_FORMAT)})


def read_backbone_card(directory: Path) -> BackboneCard:
    """What the backbone in `directory` says of itself, without reading its tensors.

    Raises `StoreError` if missing, `IntegrityError` if malformed, `IncompatibleError` for an unknown format.
    """
    path = directory / CARD_FILE
    try:
        return parse_document(BackboneCard, read_document(path), str(path), format_number=_FORMAT)
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
    config = card.config
    crma = Crma(config, [torch.zeros(config.hidden_size, config.streams)] * config.num_layers)
    tensors = load_file(path)
    _check_shapes(tensors, crma, path)
    crma.load_state_dict(tensors)
    return crma


def _check_shapes(tensors: dict[str, Tensor], crma: Crma, path: Path) -> None:
    given = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
    expected = {name: (tuple(value.shape), torch.float32) for name, value in crma.state_dict().items()}
    for name in sorted(given.keys() | expected.keys()):
        if given.get(name) != expected.get(name):
            raise IntegrityError(
                f"{path}: tensor {name} is {given.get(name, 'missing')}, {CARD_FILE} makes it "
                f"{expected.get(name, 'none')}; take both files from one training"
            )
