"""Removing the versions that no kept release names any more.

Owns: which releases are kept and which folders may go. Documents of releases are history and stay; plain
adapters, and anything else that is no version of ours, are never touched.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.cli.listing import folder_bytes
from crma_adapters.errors import ConfigError
from crma_adapters.io import durable
from crma_adapters.io.regular_files import check_no_symlink
from crma_adapters.lora.lora_files import CONFIG_FILE
from crma_adapters.store.names import is_domain_name, is_version
from crma_adapters.store.store import Store

KEEP_RELEASES = 10

_PART_FOLDERS = frozenset({"backbone", "router"})


@dataclass(frozen=True)
class Collection:
    """The numbers of the releases that are kept; what was removed, or would be: folders and their bytes."""

    kept: tuple[int, ...]
    removed: Mapping[Path, int]


def collect(store: Store, *, keep: int = KEEP_RELEASES, dry_run: bool = False) -> Collection:
    """Remove every version that neither the live release nor the `keep` - 1 before it name.

    A dry run removes nothing and writes nothing. Raises `ConfigError` for a `keep` below 1, `StoreError` if
    a kept release cannot be read, so that its parts are not known, and `IntegrityError` for a symlink; then
    nothing is removed.
    """
    if keep < 1:
        raise ConfigError(f"gc keeps the live release: given {keep} to keep, expected 1 or more")
    if dry_run:
        return _plan(store, keep)
    store.live()  # the lock would make the store's folder if it were not there
    with store.publishing():
        plan = _plan(store, keep)
        for folder in plan.removed:
            _remove(store.root, folder)
        return plan


def _plan(store: Store, keep: int) -> Collection:
    kept = store.latest(keep)
    named = {store.root / place / part.version for release in kept for place, part in release.parts()}
    unnamed = (folder for folder in _versions(store.root) if folder not in named)
    sizes = {folder: folder_bytes(folder) for folder in unnamed}
    return Collection(tuple(release.number for release in kept), sizes)


def _versions(root: Path) -> Iterator[Path]:
    """Every folder that is a version of ours by its place and name."""
    for place in sorted(root.iterdir()):
        if not (place.name in _PART_FOLDERS or is_domain_name(place.name)) or not place.is_dir():
            continue
        check_no_symlink(root, place)
        if (place / CONFIG_FILE).exists():
            continue  # a plain adapter, whatever its folders are called
        for folder in sorted(place.iterdir()):
            if is_version(folder.name) and folder.is_dir():
                check_no_symlink(root, folder)
                yield folder


def _remove(root: Path, folder: Path) -> None:
    """Renamed away first: no reader meets half a version, the next publisher removes what a kill leaves."""
    aside = folder.replace(durable.temporary_path(root))
    durable.sync_folder(folder.parent)
    shutil.rmtree(aside)
    try:
        folder.parent.rmdir()
    except OSError:
        return  # other versions are in it
    durable.sync_folder(root)
