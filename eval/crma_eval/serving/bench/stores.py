"""Folders to serve from: stores with as many adapters as asked for, one adapter as vLLM alone takes it."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from crma_adapters.crma.crma_card import MIXER_FILES
from crma_adapters.errors import ConfigError
from crma_adapters.lora.bundle import compose_bundle
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.store.ledger import POINTER_FILE
from crma_adapters.store.store import Store


def live_bundle(store: Store, domain: str, out: Path) -> Path:
    """What crma-serve loads for `domain`: its adapter with the backbone it runs on, as one PEFT folder in
    `out`."""
    release = store.live()
    entry = release.adapters[domain]
    version, folder = release.backbone_of(entry), store.adapter_dir(domain, entry.part.version)
    if not out.is_dir():
        compose_bundle(
            lora=folder if CONFIG_FILE in entry.part.files else None,
            mixer=folder if MIXER_FILES.card in entry.part.files else None,
            backbone=store.backbone_dir(version) if version else None,
            out=out,
        )
    return out


def live_lora(store: Store, domain: str) -> Path:
    """The folder of the domain's live LoRA alone. Raises `ConfigError` if the domain has a mixer alone."""
    part = store.live().adapters[domain].part
    if CONFIG_FILE not in part.files:
        raise ConfigError(
            f"{domain}@{part.version} is a mixer without a LoRA, which vLLM alone and copies cannot "
            f"serve; name "
            "systems without it, such as --systems a,b,d,e,f,g"
        )
    return store.adapter_dir(domain, part.version)


def copy_live(store: Store, out: Path) -> None:
    """A store of its own with the live release of `store`, whose files it shares."""
    for place, part in store.live().parts():
        _link_folder(store.root / place / part.version, out / place / part.version)
    _link_folder(store.root / "releases", out / "releases")
    _link(store.root / POINTER_FILE, out / POINTER_FILE)


def add_copies(sources: Sequence[Path], names: Sequence[str], out: Path) -> None:
    """A plain adapter for each of `names` in the store `out`: the files of the `sources`, in turn."""
    for place, name in enumerate(names):
        source = sources[place % len(sources)]
        for file in (CONFIG_FILE, WEIGHTS_FILE):
            _link(source / file, out / name / file)


def add_of_rank(source: Path, rank: int, out: Path) -> None:
    """A plain adapter on the modules of `source` with another rank, its numbers random but small."""
    generator = torch.Generator().manual_seed(rank)
    config = json.loads((source / CONFIG_FILE).read_text(encoding="utf-8"))
    config |= {"r": rank, "lora_alpha": rank, "rank_pattern": {}, "alpha_pattern": {}}
    tensors = {
        name: 1e-3 * torch.randn(_resized(name, tensor.shape, rank), generator=generator)
        for name, tensor in load_file(source / WEIGHTS_FILE).items()
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / WEIGHTS_FILE, metadata={"format": "pt"})
    (out / CONFIG_FILE).write_text(json.dumps(config, indent=2), encoding="utf-8")


def _resized(name: str, shape: torch.Size, rank: int) -> tuple[int, int]:
    """A is (rank, in), B is (out, rank)."""
    return (rank, shape[1]) if "lora_A" in name or "embedding_A" in name else (shape[0], rank)


def _link_folder(source: Path, out: Path) -> None:
    for path in source.iterdir():
        if path.is_file():
            _link(path, out / path.name)


def _link(source: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        return
    try:
        os.link(source, out)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, out)
