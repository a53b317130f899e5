"""A release made of parts somebody brings, and for the rest of what is live.

A new backbone moves no adapter: each goes on running on the one it runs on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_adapters.store.card import read_card
from crma_adapters.store.ledger import POINTER_FILE
from crma_adapters.store.refresh import moved_entry
from crma_adapters.store.release import AdapterEntry, Part, Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import check_backbone


@dataclass(frozen=True)
class Publication:
    """What to publish: folders of new parts, and, by domain, a drift measured under the release's newest
    backbone: that domain is moved to it, without a word from the one-standard-error rule."""

    adapters: Mapping[str, Path] = field(default_factory=dict)
    backbone: Path | None = None
    router: Path | None = None
    drift: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


def publish_parts(store: Store, new: Publication) -> Release:
    """Publish the new parts together with what the live release has of the others.

    Raises `ConfigError` if there is nothing to publish or a drift names no adapter, and as `Store.publish`.
    """
    if not (new.adapters or new.backbone or new.router or new.drift):
        raise ConfigError("nothing to publish: give --adapter NAME=FOLDER, --backbone, --router or --drift")
    with store.publishing():
        live = store.live() if (store.root / POINTER_FILE).exists() else None
        base_model, base_fingerprint = _base(live, new)
        backbone = live.backbone if live else None
        router = live.router if live else None
        if new.backbone:
            backbone = store.add_backbone(new.backbone)
        if new.router:
            router = store.add_router(new.router)
        return store.publish(
            base_model=base_model,
            base_fingerprint=base_fingerprint,
            backbone=backbone,
            adapters=_adapters(store, live, new, backbone),
            router=router,
            note=new.note,
        )


def _base(live: Release | None, new: Publication) -> tuple[str, str]:
    """Name and fingerprint of the base model: the live release's, or that of the first part."""
    if live is not None:
        return live.base_model, live.base_fingerprint
    for folder in new.adapters.values():
        card = read_card(folder)
        return card.base_model, card.base_fingerprint
    if new.backbone is not None:
        facts = check_backbone(new.backbone)
        return facts.base_model, facts.base_fingerprint
    raise ConfigError(
        "the store has no release yet: the first needs --adapter NAME=FOLDER or --backbone FOLDER"
    )


def _adapters(
    store: Store, live: Release | None, new: Publication, backbone: Part | None
) -> dict[str, AdapterEntry]:
    entries = dict(live.adapters) if live else {}
    if live is not None and (new.adapters or new.backbone):
        entries = dict(live.placed().adapters)
    for name, folder in new.adapters.items():
        entries[name] = AdapterEntry.pinned(store.add_adapter(name, folder), read_card(folder).backbone)
    for name, drift in new.drift.items():
        if name not in entries:
            raise ConfigError(
                f"--drift {name}: no such adapter in the release; those there are: {', '.join(entries)}"
            )
        entry = entries[name]
        if entry.runs_on is None:  # of format 1, and nothing but drift and router changes
            entries[name] = replace(entry, drift=drift)
        else:
            entries[name] = moved_entry(entry, backbone.version if backbone else None, drift)
    return entries
