"""The store: the folder given to `--adapters`, and the one way to read and to change it.

Publishing has one order: parts first, each beside and renamed; then everything verified; then the release
document; the pointer last. Where things lie is `folders` and `ledger`, what may be served `verify`.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from crma_adapters.errors import ConfigError, StoreError
from crma_adapters.io import durable
from crma_adapters.io.regular_files import check_no_symlink
from crma_adapters.store.canary import canary_of, entry_of, promoted, with_canary, without_canary
from crma_adapters.store.card import AdapterCard
from crma_adapters.store.folders import StoreFolders
from crma_adapters.store.ledger import ReleaseLedger
from crma_adapters.store.names import check_domain_name, is_version
from crma_adapters.store.parts import (
    ADAPTER,
    BACKBONE,
    ROUTER,
    PartKind,
    check_part,
    check_source,
    describe_part,
)
from crma_adapters.store.refresh import MeasuredLosses, moved_entry, pin_entry, pinned, refreshed
from crma_adapters.store.release import AdapterEntry, Canary, Part, Pointer, Release
from crma_adapters.store.verify import check_adapter, check_backbone, check_router, verify_release


class Store(StoreFolders):
    """A store at `root`. Reading needs no lock and never waits; all writing is under one lock."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._ledger = ReleaseLedger(root)
        self._writer = threading.RLock()
        self._writes_nested = 0

    def pointer(self) -> Pointer:
        """Which release is live, cheap enough to ask every second. Raises `StoreError` if none is."""
        self.check_root()
        return self._ledger.pointer()

    def live(self) -> Release:
        """The live release as its document says; `verify_release` says whether it may be served.

        Raises `StoreError` if the store is missing or empty, `IntegrityError` if a document was changed.
        """
        self.check_root()
        return self._ledger.live()

    def release(self, number: int) -> Release:
        """A release by number. Raises `StoreError` if there is none of that number."""
        self.check_root()
        return self._ledger.release(number)

    def releases(self) -> list[Release]:
        """Every release that was ever live, oldest first. Raises as `live`."""
        self.check_root()
        return self._ledger.releases()

    def latest(self, count: int) -> list[Release]:
        """The live release and up to `count` - 1 before it, oldest first. Raises as `live`."""
        self.check_root()
        return self._ledger.latest(count)

    def missing_folders(self, release: Release) -> list[Path]:
        """The folders a release names that are not in the store, or not any more: see `collection`."""
        folders = (self.root / place / part.version for place, part in release.parts())
        return [folder for folder in folders if not folder.is_dir()]

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Hold the store's lock over several writes, so that what they build on cannot change in between.

        Makes the store's folder if needed. Raises `StoreError` if another publisher holds the lock too long,
        or if writing fails; the live release stays as it was.
        """
        with self._writer:
            if self._writes_nested:
                yield
                return
            try:
                durable.make_folder_durably(self.root)
                with durable.locked(self.root):
                    durable.remove_leftovers(self.root)
                    yield from self._nested()
            except OSError as error:
                raise StoreError(
                    f"store {self.root} cannot be written ({error}); its live release is unchanged: "
                    "mend the cause and publish again"
                ) from error

    def add_adapter(self, name: str, source: Path) -> Part:
        """Take an adapter folder into the store, as the version its content gives; not live until published.

        Raises `StoreError`, `IntegrityError` or `IncompatibleError` if it could not be served.
        """
        check_source(source, ADAPTER)
        check_adapter(source, check_domain_name(name))
        return self._add(name, source, ADAPTER)

    def add_backbone(self, source: Path) -> Part:
        """Take a backbone folder into the store. As `add_adapter`."""
        check_source(source, BACKBONE)
        check_backbone(source)
        return self._add("backbone", source, BACKBONE)

    def stored_backbone(self, version: str) -> Part:
        """A backbone the store holds, in a release or not. Raises `StoreError` if it does not hold it."""
        folder = self.backbone_dir(version)
        if not folder.is_dir():
            known = sorted(path.name for path in folder.parent.glob("*") if is_version(path.name))
            raise StoreError(
                f"backbone {version}: not in the store {self.root}, never added or removed by `crma-adapters "
                f"gc`; "
                f"it has {', '.join(known) or 'none'}: add it again, or train on one of those"
            )
        check_no_symlink(self.root, folder)
        part = replace(describe_part(folder, BACKBONE), version=version)
        check_part(self.root, folder, part, BACKBONE)
        return part

    def add_router(self, source: Path) -> Part:
        """Take a router folder into the store. As `add_adapter`."""
        check_source(source, ROUTER)
        check_router(source)
        return self._add("router", source, ROUTER)

    def publish(
        self,
        *,
        base_model: str,
        base_fingerprint: str,
        backbone: Part | None,
        adapters: Mapping[str, AdapterEntry],
        router: Part | None,
        note: str = "",
    ) -> Release:
        """Verify a set of added parts and make it the live release; what is live already stays as it is.

        `backbone` is the newest; the others that adapters run on are found in the store by their versions.
        Raises as `verify_release`, `StoreError` for a release with neither backbone nor adapter or a backbone
        that the store does not hold, and `ConfigError` if only some adapters say what they run on.
        """
        with self.publishing():
            number, created = self._ledger.next_number(), _now()
            return self._publish(
                self._with_backbones(
                    Release(
                        number, created, base_model, base_fingerprint, backbone, dict(adapters), router, note
                    )
                )
            )

    def refresh(self, measured: MeasuredLosses) -> Release:
        """Publish the live release with each adapter `measured` names moved to the newest backbone where the
        one-standard-error rule lets it; the others keep the figures. Raises as `refresh.refreshed` and
        `publish`.
        """
        with self.publishing():
            changed = refreshed(self.live(), measured)
            moved = [
                name
                for name in measured.adapters
                if changed.backbone_of(changed.adapters[name]) == measured.backbone
            ]
            stayed = sorted(set(measured.adapters) - set(moved))
            note = f"refreshed to backbone {measured.backbone}: {', '.join(sorted(moved)) or 'none'}"
            return self._publish_as_next(changed, note + (f"; not {', '.join(stayed)}" if stayed else ""))

    def pin(self, names: Sequence[str]) -> Release:
        """Publish the live release with these domains back on the backbones they were trained on.

        Raises `StoreError` for a domain the release does not have or a backbone the store no longer holds,
        and as `publish`.
        """
        with self.publishing():
            changed = pinned(self.live(), names)
            return self._publish_as_next(changed, f"pinned: {', '.join(names)}")

    def rollback(self, number: int) -> Release:
        """Publish an older release again, under a new number. Raises as `release` and `publish`."""
        with self.publishing():
            old = self.release(number)
            if missing := self.missing_folders(old):
                raise StoreError(
                    f"{missing[0]}: is missing, removed by `crma-adapters gc` or lost, so release {number} "
                    "cannot go live again; publish that part again, or go back to another release"
                )
            return self._publish_as_next(old, f"rollback to release {number}")

    def set_canary(self, name: str, version: str, *, weight: float, drift: float | None = None) -> Release:
        """Publish the live release with a version the store holds as the canary of `name`.

        `weight` is its share of the domain's sessions. It runs on the backbone it was trained on, or, with a
        `drift` measured there, on the newest; a canary that is there already stays as it is if none is given.
        Raises `ConfigError` for a weight outside (0, 1), `StoreError` if
        the release has no such domain or the store no such version, and as `publish`.
        """
        with self.publishing():
            live = self.live()
            old = entry_of(live, name).canary
            part, card = self._stored_adapter(name, version)
            if drift is None and old is not None and old.part == part:
                changed = with_canary(live, name, replace(old, weight=weight))
            else:
                changed = _with_new_canary(live, name, Canary(part, card.backbone, drift, weight))
            return self._publish_as_next(changed, f"canary {name}@{version}, {weight:.4g} of its sessions")

    def promote(self, name: str) -> Release:
        """Publish the live release with the canary of `name` in place of its live version.

        Raises `StoreError` if it has none, and as `publish`.
        """
        with self.publishing():
            live = self.live()
            version = canary_of(live, name).part.version
            return self._publish_as_next(promoted(live, name), f"{name}@{version} promoted")

    def drop_canary(self, name: str) -> Release:
        """Publish the live release without the canary of `name`. Raises as `promote`."""
        with self.publishing():
            live = self.live()
            version = canary_of(live, name).part.version
            return self._publish_as_next(without_canary(live, name), f"canary {name}@{version} dropped")

    def _publish_as_next(self, content: Release, note: str) -> Release:
        number = self._ledger.next_number()
        numbered = replace(content, number=number, created=_now(), note=note)
        return self._publish(self._with_backbones(numbered))

    def _with_backbones(self, release: Release) -> Release:
        """The release with exactly those backbones named that are its newest or that an adapter runs on."""
        said = {entry.runs_on is not None for entry in release.served()}
        if len(said) > 1:
            raise ConfigError(
                "only some adapters of this release say what they run on; take those of an older release "
                "from "
                "its placed()"
            )
        newest = release.backbone.version if release.backbone else None
        wanted = {release.backbone_of(entry) for entry in release.served()} - {None, newest}
        known = release.other_backbones
        others = {v: known.get(v) or self.stored_backbone(v) for v in sorted(filter(None, wanted))}
        return replace(release, other_backbones=others)

    def _nested(self) -> Iterator[None]:
        self._writes_nested += 1
        try:
            yield
        finally:
            self._writes_nested -= 1

    def _add(self, place: str, source: Path, kind: PartKind) -> Part:
        with self.publishing():
            copied = durable.copy_folder_durably(self.root, source, kind.present(source))
            part = describe_part(copied, kind)
            target = self.root / place / part.version
            check_no_symlink(self.root, target)
            if not self._holds(target, part, kind):
                durable.move_folder_durably(self.root, copied, target)
            durable.remove_leftovers(self.root)
            return part

    def _stored_adapter(self, name: str, version: str) -> tuple[Part, AdapterCard]:
        folder = self.adapter_dir(name, version)
        if version not in (known := self.adapter_versions().get(name, [])):
            raise StoreError(
                f"{name}@{version}: not in the store {self.root}; "
                f"expected one of: {', '.join(known) or 'none'}"
            )
        check_no_symlink(self.root, folder)
        part = describe_part(folder, ADAPTER)
        check_part(self.root, folder, replace(part, version=version), ADAPTER)
        return part, check_adapter(folder, name)

    def _holds(self, folder: Path, part: Part, kind: PartKind) -> bool:
        try:
            check_part(self.root, folder, part, kind)
        except StoreError:
            return False  # not there, or damaged since: adding it again is how it is restored
        return True

    def _publish(self, release: Release) -> Release:
        if release.backbone is None and not release.adapters:
            raise StoreError("a release needs a backbone or at least one adapter; given neither")
        verify_release(self, release)
        live = self._live_or_none()
        if live is not None and live.same_content(release):
            return live
        self._ledger.append(release)
        return release

    def _live_or_none(self) -> Release | None:
        try:
            return self._ledger.live()
        except StoreError:
            return None  # none yet, or damaged: publishing is how it is restored


def _with_new_canary(live: Release, name: str, canary: Canary) -> Release:
    newest = live.backbone.version if live.backbone else None
    if live.format == 1 and (canary.drift is not None or canary.trained_on_backbone == newest):
        return with_canary(live, name, canary)  # as format 1 has it
    drift = canary.drift
    placed = pin_entry(canary) if drift is None else moved_entry(canary, newest, drift)
    return with_canary(live.placed(), name, placed)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
