"""Folders as training leaves them, small enough to make hundreds of."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma_card import BACKBONE_FILES, MIXER_FILES, CrmaCard, CrmaFiles, tensor_shapes
from crma_adapters.store.card import AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.store.release import AdapterEntry, Part, Release
from crma_adapters.store.store import Store

FINGERPRINT = "ab" * 32
CRMA = CrmaConfig(hidden_size=8, num_layers=1, rank=2)
T = TypeVar("T")
Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass
class Nth:
    """Takes the `n`-th of whatever is to be chosen, so that a kind's cases are its options in turn.

    `options` is the length of the longest list it chose from: as many cases make every option once.
    """

    n: int
    options: int = 1

    def choice(self, values: Sequence[T]) -> T:
        self.options = max(self.options, len(values))
        return values[self.n % len(values)]

    def randrange(self, start: int, stop: int | None = None) -> int:
        """A place of the range, far from those of the cases before."""
        low, high = (0, start) if stop is None else (start, stop)
        return low + int((high - low) * ((self.n + 1) * 0.618 % 1))

    def randbytes(self, size: int) -> bytes:
        return random.Random(self.n).randbytes(size)


@dataclass
class Workshop:
    """Makes parts to publish, and a store with one release of them. `seed` tells two contents apart.

    Test modules get it as a fixture and import its name for type checkers alone: pytest's importlib mode
    gives them no other way to share code.
    """

    root: Path
    base: ClassVar[str] = "tiny-model"
    fingerprint: ClassVar[str] = FINGERPRINT
    module: ClassVar[str] = "base_model.model.model.layers.0.self_attn.q_proj"

    def adapter(
        self,
        name: str = "medical",
        *,
        seed: int = 0,
        rank: int = 4,
        backbone: str | None = None,
        fingerprint: str = FINGERPRINT,
    ) -> Path:
        """An adapter folder: one LoRA pair on an 8 x 8 layer, its configuration and its card."""
        folder = self._folder()
        save_file(self.lora_pair(seed, rank), folder / "adapter_model.safetensors")
        config = {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": 8,
            "target_modules": ["q_proj"],
            "bias": "none",
        }
        (folder / "adapter_config.json").write_text(json.dumps(config))
        card = replace(self.card(), name=name, rank=rank, backbone=backbone, base_fingerprint=fingerprint)
        (folder / "adapter.json").write_bytes(card.to_json())
        return folder

    def mixer(
        self,
        name: str = "medical",
        *,
        seed: int = 0,
        backbone: str | None = None,
        lora: bool = False,
        config: CrmaConfig = CRMA,
    ) -> Path:
        """An adapter folder with a mixer, and with a LoRA beside it if `lora`."""
        folder = self.adapter(name, seed=seed, backbone=backbone) if lora else self._folder()
        self._crma(folder, MIXER_FILES, seed, config, FINGERPRINT)
        card = replace(self.card(), name=name, backbone=backbone, mixing_rank=config.rank)
        card = replace(card, kind="both") if lora else replace(card, kind="mixer", rank=config.rank)
        (folder / "adapter.json").write_bytes(card.to_json())
        return folder

    def backbone(self, *, seed: int = 0, fingerprint: str = FINGERPRINT, config: CrmaConfig = CRMA) -> Path:
        """A backbone folder: one block of size 8."""
        folder = self._folder()
        self._crma(folder, BACKBONE_FILES, seed, config, fingerprint)
        return folder

    def router(self, *domains: str, seed: int = 0) -> Path:
        """A router folder as far as the store reads one."""
        folder = self._folder()
        save_file({"weight": _numbers(seed, max(1, len(domains)), 8)}, folder / "router.safetensors")
        (folder / "router.json").write_text(json.dumps({"domains": list(domains)}))
        return folder

    def store(self) -> Store:
        """A store whose release 1 has a backbone, `legal` and `medical` trained on it, and a router."""
        store = Store(self._folder() / "store")
        backbone = store.add_backbone(self.backbone())
        names = ("legal", "medical")
        self.publish(
            store,
            backbone=backbone,
            adapters={
                name: AdapterEntry(
                    store.add_adapter(name, self.adapter(name, backbone=backbone.version)),
                    backbone.version,
                    None,
                )
                for name in names
            },
            router=store.add_router(self.router(*names)),
        )
        return store

    def publish(
        self,
        store: Store,
        *,
        backbone: Part | None = None,
        adapters: dict[str, AdapterEntry] | None = None,
        router: Part | None = None,
        fingerprint: str = FINGERPRINT,
    ) -> Release:
        """Publish for the tiny base model."""
        return store.publish(
            base_model=self.base,
            base_fingerprint=fingerprint,
            backbone=backbone,
            adapters=adapters or {},
            router=router,
        )

    def lora_pair(self, seed: int = 0, rank: int = 4) -> dict[str, Array]:
        """One LoRA pair on an 8 x 8 layer."""
        return {
            f"{self.module}.lora_A.weight": _numbers(seed, rank, 8),
            f"{self.module}.lora_B.weight": _numbers(seed + 1, 8, rank),
        }

    def card(self) -> AdapterCard:
        """A card with every field told from its neighbours."""
        return AdapterCard(
            name="medical",
            base_model=self.base,
            base_fingerprint=FINGERPRINT,
            backbone=None,
            rank=4,
            alpha=8.0,
            target_modules=("q_proj",),
            data=CardData(rows_train=90, rows_holdout=10, sources=("wiki-é",), licences=("MIT",)),
            training=CardTraining(steps=12, epochs=1.5, seed=7, learning_rate=1e-3, tokens=345),
            holdout_loss=CardLoss(base=3.25, before=3.0, after=2.125),
        )

    def _crma(self, folder: Path, files: CrmaFiles, seed: int, config: CrmaConfig, fingerprint: str) -> None:
        chance = np.random.default_rng(seed)
        shapes = tensor_shapes(config).items()
        data = save({name: chance.normal(size=shape).astype(np.float32) for name, shape in shapes})
        (folder / files.tensors).write_bytes(data)
        card = CrmaCard(self.base, fingerprint, config, sha256(data).hexdigest())
        (folder / files.card).write_bytes(card.to_json())

    def _folder(self) -> Path:
        folder = self.root / f"folder-{len(list(self.root.iterdir()))}"
        folder.mkdir()
        return folder


def _numbers(seed: int, rows: int, columns: int) -> Array:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


@pytest.fixture(scope="session")
def make_workshop() -> Callable[[Path], Workshop]:
    """For stores that many tests share."""
    return Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def store(workshop: Workshop) -> Store:
    """A store with one release; see `Workshop.store`."""
    return workshop.store()


@pytest.fixture
def nth() -> Callable[[int], Nth]:
    """Makes what a hostile case of that number chooses by."""
    return Nth
