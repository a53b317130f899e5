"""A CRMA on disk: a backbone in a folder of its own, a mixer beside the other files of its adapter."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from crma_adapters.crma.crma import Crma
from crma_adapters.crma.crma_card import (
    BACKBONE_FILES,
    MIXER_FILES,
    CrmaCard,
    CrmaFiles,
    check_crma,
    read_crma_card,
)
from crma_adapters.errors import ConfigError
from crma_adapters.io.durable import make_folder_durably, write_durably
from crma_adapters.io.whole_folder import write_folder


def save_backbone(crma: Crma, directory: Path, *, base_model: str, base_fingerprint: str) -> None:
    """Write `crma` to `directory`, all or nothing, the same bytes for the same parameters.

    Raises `StoreError` if the folder holds anything else, `ConfigError` if a parameter is not finite.
    """
    write_folder(directory, _files(crma, BACKBONE_FILES, base_model, base_fingerprint))


def save_mixer(crma: Crma, directory: Path, *, base_model: str, base_fingerprint: str) -> None:
    """Write `crma` as the mixer of the adapter in `directory`, beside what is there.

    Each file is written whole, the card last: a card without its own tensors is found when it is read. Raises
    `ConfigError` if a parameter is not finite.
    """
    make_folder_durably(directory)
    for name, data in _files(crma, MIXER_FILES, base_model, base_fingerprint).items():
        write_durably(directory, directory / name, data)


def read_backbone_card(directory: Path) -> CrmaCard:
    """What the backbone in `directory` says of itself. Raises as `read_crma_card`."""
    return read_crma_card(directory, BACKBONE_FILES)


def load_backbone(directory: Path) -> Crma:
    """The CRMA saved in `directory`, on the CPU, exactly as it was. Raises as `check_crma`."""
    return _load(directory, BACKBONE_FILES)


def load_mixer(directory: Path) -> Crma:
    """The mixer of the adapter in `directory`, as `load_backbone`."""
    return _load(directory, MIXER_FILES)


def _files(crma: Crma, files: CrmaFiles, base_model: str, base_fingerprint: str) -> dict[str, bytes]:
    """Both files' bytes, the tensors first."""
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in crma.state_dict().items()}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ConfigError(f"CRMA parameter {name} is not finite, so it cannot be saved; train it again")
    data = save(tensors, metadata={"format": "pt"})
    card = CrmaCard(base_model, base_fingerprint, crma.config, hashlib.sha256(data).hexdigest())
    return {files.tensors: data, files.card: card.to_json()}


def _load(directory: Path, files: CrmaFiles) -> Crma:
    crma = Crma.empty(check_crma(directory, files).config)
    crma.load_state_dict(load_file(directory / files.tensors))
    return crma
