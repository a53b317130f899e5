"""From a finished run to one published release, on top of whatever is live by then."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.card import AdapterCard
from crma_adapters.store.refresh import PairedLosses, compare_losses, refresh_entry
from crma_adapters.store.release import AdapterEntry, Release
from crma_adapters.store.store import Store
from crma_training.start import live_release
from crma_training.workbench import Task


@dataclass(frozen=True)
class TrainedAdapter:
    """A saved adapter folder, its card, its domain's rows, and the backbone it was trained on, if any."""

    task: Task
    adapter: Path
    card: AdapterCard
    backbone: Path | None


@dataclass(frozen=True)
class RunOutputs:
    """What a run brings to the store.

    Attributes:
        adapters: pinned to their own backbones.
        backbone: the newest one, None to keep what is live.
        losses: paired validation losses of earlier domains under their own and the newest backbone; those
            that are not worse move to the newest.
        drift: relative change of their holdout losses, where measured.
        router: None to keep what is live.
    """

    base: BaseModel
    adapters: tuple[TrainedAdapter, ...]
    backbone: Path | None
    losses: Mapping[str, PairedLosses]
    drift: Mapping[str, float]
    router: Path | None
    note: str


def publish(store: Store, outputs: RunOutputs) -> Release:
    """Adds the parts and makes one release of them and of the live one's other domains; if the live release
    has the same content, it stays.
    """
    with store.publishing():
        live = live_release(store)
        placed = live.placed() if live else None
        for item in outputs.adapters:
            if item.backbone is not None:
                store.add_backbone(item.backbone)
        newest = store.add_backbone(outputs.backbone) if outputs.backbone else None
        newest = newest or (live.backbone if live else None)
        entries = dict(placed.adapters) if placed else {}
        for item in outputs.adapters:
            part = store.add_adapter(item.card.name, item.adapter)
            entries[item.card.name] = AdapterEntry.pinned(part, item.card.backbone)
        for name, losses in outputs.losses.items():
            assert newest is not None
            figures = compare_losses(losses.own, losses.newest, backbone=newest.version)
            moved = refresh_entry(entries[name], figures)
            entries[name] = replace(moved, drift=outputs.drift.get(name)) if figures.is_not_worse else moved
        return store.publish(
            base_model=outputs.base.name,
            base_fingerprint=outputs.base.fingerprint,
            backbone=newest,
            adapters=entries,
            router=store.add_router(outputs.router) if outputs.router else (live.router if live else None),
            note=outputs.note,
        )
