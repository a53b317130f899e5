"""What releases ask of the engine before it starts: the modules that adapters stand on, and the largest
rank."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.crma_card import BACKBONE_FILES, MIXER_FILES, read_crma_card
from crma_adapters.errors import IncompatibleError
from crma_adapters.lora.lora_files import CONFIG_FILE, MIXER, adapted_modules, read_config
from crma_adapters.store.folders import StoreFolders
from crma_adapters.store.release import AdapterEntry, Canary, Release


@dataclass(frozen=True)
class Demand:
    """`modules` are names as adapters have them (`q_proj`, `residual_mixer`); `rank` is the largest of
    any."""

    rank: int = 1
    modules: frozenset[str] = frozenset()

    def __or__(self, other: "Demand") -> "Demand":
        return Demand(max(self.rank, other.rank), self.modules | other.modules)


def total_demand(store: StoreFolders, releases: Iterable[Release | None], plain: Iterable[Path]) -> Demand:
    """What all of these ask for together."""
    total = Demand()
    for release in releases:
        if release is not None:
            total |= release_demand(store, release)
    for folder in plain:
        total |= _lora_demand(folder)
    return total


def release_demand(store: StoreFolders, release: Release) -> Demand:
    """What the bundles of a verified release ask for. A mixer and its backbone stand in one module: ranks add
    up."""
    backbones = {
        version: read_crma_card(store.backbone_dir(version), BACKBONE_FILES).config.rank
        for version in release.backbones()
    }
    total = Demand()
    for rank in backbones.values():
        total |= Demand(rank, frozenset({MIXER}))
    for name, entry in release.adapters.items():
        for served in (entry, entry.canary):
            if served is not None:
                backbone = release.backbone_of(served)
                below = backbones[backbone] if backbone is not None else 0
                total |= _adapter_demand(store.adapter_dir(name, served.part.version), served, below)
    return total


def check_modules(demand: Demand, allowed: frozenset[str] | None, what: str) -> None:
    """Raise `IncompatibleError` if `what` adapts modules that the running engine gives no LoRA (None: it
    does)."""
    if allowed is not None and (missing := sorted(demand.modules - allowed)):
        raise IncompatibleError(
            f"{what} adapts {', '.join(missing)}, the engine was started for {', '.join(sorted(allowed))} "
            f"alone "
            "(--lora-target-modules); start crma-serve again, and it will take what this release uses"
        )


def _adapter_demand(folder: Path, entry: AdapterEntry | Canary, backbone_rank: int) -> Demand:
    lora = _lora_demand(folder) if CONFIG_FILE in entry.part.files else Demand()
    if MIXER_FILES.card not in entry.part.files:
        return lora
    rank = read_crma_card(folder, MIXER_FILES).config.rank + backbone_rank
    return lora | Demand(rank, frozenset({MIXER}))


def _lora_demand(folder: Path) -> Demand:
    return Demand(max(read_config(folder).ranks), adapted_modules(folder))
