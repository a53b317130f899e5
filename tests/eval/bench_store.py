"""A store with two domains on a backbone, for a random model of two blocks."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from crma_adapters.crma.backbone import save_backbone
from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma import Crma
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.card import AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.store.release import AdapterEntry
from crma_adapters.store.store import Store

WIDTH, LAYERS, RANK = 32, 2, 3


def make_store(root: Path, base: BaseModel, domains: Sequence[str]) -> Store:
    """Published once; every domain's LoRA is another."""
    store = Store(root)
    crma = Crma(
        CrmaConfig(WIDTH, LAYERS, rank=4, form=1, initial_alpha=0.1), [torch.eye(WIDTH)[:, :4]] * LAYERS
    )
    drafts = root.with_name(root.name + "-drafts")
    save_backbone(crma, drafts / "backbone", base_model=base.name, base_fingerprint=base.fingerprint)
    backbone = store.add_backbone(drafts / "backbone")
    entries = {}
    for seed, name in enumerate(domains):
        _write_adapter(drafts / name, name, base, backbone.version, seed)
        entries[name] = AdapterEntry(store.add_adapter(name, drafts / name), backbone.version, None)
    store.publish(
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=backbone,
        adapters=entries,
        router=None,
    )
    return store


def _write_adapter(folder: Path, name: str, base: BaseModel, backbone: str, seed: int) -> None:
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(LAYERS):
        stem = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{stem}.lora_A.weight"] = torch.randn(RANK, WIDTH, generator=draw)
        tensors[f"{stem}.lora_B.weight"] = torch.randn(WIDTH, RANK, generator=draw)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": base.name,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    card = AdapterCard(
        name=name,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=backbone,
        rank=RANK,
        alpha=float(RANK),
        target_modules=("q_proj",),
        data=CardData(1, 1, ("random",), ("none",)),
        training=CardTraining(1, 1.0, seed, 0.001, 1),
        holdout_loss=CardLoss(1.0, 1.0, 1.0),
    )
    (folder / "adapter.json").write_bytes(card.to_json())
