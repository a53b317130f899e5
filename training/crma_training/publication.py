"""From a finished run to one published release.

Owns: which parts make the release, and the refusal to publish over a release that the run does not know.
Knows nothing of how the parts were made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crma_adapters.errors import TrainingError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.canary import carried_over
from crma_adapters.store.release import AdapterEntry, Release
from crma_adapters.store.store import Store
from crma_training.drift import TrainedAdapter
from crma_training.start import Start, live_release


@dataclass(frozen=True)
class Harvest:
    """What a run brings to the store: folders of its parts, and the measured drift of adapters under
    `backbone`.

    `drift` covers the carried adapters that were measured too; the others keep what the old release says of
    them. `router` is None if none was fitted: a release that carries adapters then keeps the old one.
    """

    base: BaseModel
    start: Start
    backbone: Path
    adapters: tuple[TrainedAdapter, ...]
    drift: Mapping[str, float | None]
    router: Path | None
    note: str


def publish(store: Store, harvest: Harvest) -> Release:
    """Adds the parts and makes one release of them; if the live one has the same content, it stays.

    Raises:
        TrainingError: another release went live since the run began.
    """
    with store.publishing():
        live = live_release(store)
        backbone = store.add_backbone(harvest.backbone)
        router = store.add_router(harvest.router) if harvest.router else None
        entries = {item.card.name: _trained(store, item, harvest) for item in harvest.adapters}
        if harvest.start.carried:
            before = store.release(harvest.start.release)
            router = router or before.router
            for name in harvest.start.carried:
                old = before.adapters[name]
                carried = carried_over(old, same_backbone=backbone == before.backbone)
                entries[name] = replace(carried, drift=harvest.drift.get(name, old.drift))
        _refuse_overtaken(store, live, harvest.start, entries)
        return store.publish(
            base_model=harvest.base.name,
            base_fingerprint=harvest.base.fingerprint,
            backbone=backbone,
            adapters=entries,
            router=router,
            note=harvest.note,
        )


def _trained(store: Store, item: TrainedAdapter, harvest: Harvest) -> AdapterEntry:
    part = store.add_adapter(item.card.name, item.adapter)
    return AdapterEntry(part, item.card.backbone, harvest.drift[item.card.name])


def _refuse_overtaken(
    store: Store, live: Release | None, start: Start, entries: Mapping[str, AdapterEntry]
) -> None:
    if live is None or live.number == start.release or live.adapters == entries:
        return
    raise TrainingError(
        f"{store.root}: release {live.number} went live since this run began (at release {start.release}), "
        "and publishing would undo it; give --run a new folder to train on top of it"
    )
