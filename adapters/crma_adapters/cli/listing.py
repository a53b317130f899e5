"""What `crma-adapters list` and `show` gather about a store; how it looks is `listing_text`."""

from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import StoreError
from crma_adapters.lora.lora_files import read_config
from crma_adapters.store.card import AdapterCard, read_card
from crma_adapters.store.release import AdapterEntry, Canary, Release, State, ValidationLosses
from crma_adapters.store.store import Store

PLAIN = "plain"


@dataclass(frozen=True)
class AdapterRow:
    """One adapter of a store; `version` is `PLAIN` for a plain PEFT folder, which has no card.

    `backbone` is what it runs on in the live release, or was trained on if it is not in it; `state`
    whether that is pinned or refreshed, None for one that is not live. `canary_weight` is its share of the
    domain's sessions if it is the live release's canary. `validation` are its losses under two backbones,
    if they were measured.
    """

    domain: str
    version: str
    backbone: str | None
    rank: int
    size_bytes: int
    loss_base: float | None
    loss_after: float | None
    drift: float | None
    live: bool
    canary_weight: float | None = None
    kind: str = "lora"
    state: State | None = None
    validation: ValidationLosses | None = None


def adapter_rows(store: Store, live: Release | None) -> list[AdapterRow]:
    """Every adapter in the store, by domain: the live version, its canary, the others.

    Raises as reading its files does.
    """
    rows = [
        _published_row(store.adapter_dir(name, version), read_card(store.adapter_dir(name, version)), live)
        for name, versions in store.adapter_versions().items()
        for version in versions
    ]
    rows += [_plain_row(name, folder) for name, folder in store.plain_adapters().items()]
    return sorted(rows, key=lambda row: (row.domain, not row.live, not row.canary_weight, row.version))


def live_or_none(store: Store) -> Release | None:
    """The live release, or None in a store that holds plain adapters alone. Raises as `Store.live`."""
    has_no_pointer = store.root.is_dir() and not (store.root / "release.json").exists()
    return None if has_no_pointer and store.plain_adapters() else store.live()


def entry_in(release: Release | None, domain: str, version: str) -> AdapterEntry | Canary | None:
    """What a release says of an adapter version, live or canary; None if the release does not have it."""
    entry = release.adapters.get(domain) if release else None
    found = (entry, entry.canary) if entry else ()
    return next((it for it in found if it and it.part.version == version), None)


def folder_bytes(folder: Path) -> int:
    """The size of the files directly in a folder."""
    return sum(path.lstat().st_size for path in folder.iterdir())


def find_version(store: Store, live: Release | None, name: str, version: str | None) -> str:
    """The version meant; the live one if `version` is None. Raises `StoreError` if it is not there."""
    versions = store.adapter_versions().get(name, [])
    if version is None and live is not None and name in live.adapters:
        return live.adapters[name].part.version
    if version is None or version not in versions:
        given = name if version is None else f"{name}@{version}"
        known = [f"{name}@{known}" for known in versions] or list(store.adapter_versions()) or ["none"]
        raise StoreError(
            f"{given}: not live and not in the store {store.root}; expected one of: {', '.join(known)}"
        )
    return version


def _published_row(folder: Path, card: AdapterCard, live: Release | None) -> AdapterRow:
    entry = entry_in(live, card.name, folder.name)
    return AdapterRow(
        domain=card.name,
        version=folder.name,
        backbone=live.backbone_of(entry) if live and entry else card.backbone,
        rank=card.rank,
        kind=card.kind,
        state=live.state_of(entry) if live and entry else None,
        validation=entry.runs_on.validation if entry and entry.runs_on else None,
        size_bytes=folder_bytes(folder),
        loss_base=card.holdout_loss.base,
        loss_after=card.holdout_loss.after,
        drift=entry.drift if entry else None,
        live=isinstance(entry, AdapterEntry),
        canary_weight=entry.weight if isinstance(entry, Canary) else None,
    )


def _plain_row(name: str, folder: Path) -> AdapterRow:
    config = read_config(folder)
    return AdapterRow(name, PLAIN, None, max(config.ranks), folder_bytes(folder), None, None, None, live=True)
