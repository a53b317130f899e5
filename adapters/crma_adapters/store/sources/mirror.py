"""A folder store that follows a remote one: documents, parts of live and kept releases, then the pointer."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from crma_adapters.errors import CrmaError, IntegrityError, StoreAwayError, StoreError
from crma_adapters.io import durable
from crma_adapters.store.collection import KEEP_RELEASES, collect
from crma_adapters.store.ledger import POINTER_FILE, RELEASES_FOLDER
from crma_adapters.store.parts import ADAPTER, BACKBONE, ROUTER, PartKind, check_part
from crma_adapters.store.release import Part, Pointer, Release
from crma_adapters.store.sources.blobs import BlobCache
from crma_adapters.store.sources.remote import RemoteDocument, RemoteFiles
from crma_adapters.store.store import Store

T = TypeVar("T")
R = TypeVar("R")

HISTORY = 50
"""Documents of releases before the live one that are fetched; older ones when they are asked for."""

_PARALLEL = 8
_LOCK_TIMEOUT_S = 3600.0
_KINDS = {"backbone": BACKBONE, "router": ROUTER}


class Mirror:
    """`remote` in the folder `root`, its files hard links into `blobs` where that is on the same disk.

    `keep` releases, the live one included, have their parts there. With `follows` a source that was made
    anew replaces what the folder has; without, its history must go on from the folder's.
    """

    def __init__(
        self, remote: RemoteFiles, root: Path, blobs: BlobCache, *, keep: int = 1, follows: bool = True
    ) -> None:
        self.remote, self.root, self.blobs = remote, root, blobs
        self._keep = keep
        self._follows = follows
        self._seen: str | None = None

    @property
    def etag(self) -> str | None:
        """The ETag of the pointer that the folder has, where the source tells one."""
        return self._seen

    def close(self) -> None:
        """End a fetch under way in another thread after its present chunk."""
        self.blobs.close()

    def sync(self) -> bool:
        """Bring the folder to what the source has; whether that was something new.

        Raises `StoreAwayError` if the source cannot be reached, `StoreError` if it has no release or refuses,
        `IntegrityError` if something in it is not what its documents say; the folder then stays as it was.
        """
        document = self.read_pointer(unless=self._seen)
        if document is None:
            return False
        try:
            durable.make_folder_durably(self.root)
            with durable.locked(self.root, timeout_s=_LOCK_TIMEOUT_S):
                changed = self.take(document)
        except OSError as error:
            raise StoreError(
                f"{self.root}: what {self.remote.url} has cannot be written there ({error.strerror}); "
                "free some space, or give another --store-cache"
            ) from error
        if changed and self._follows:
            self._prune()
        return changed

    def read_pointer(self, *, unless: str | None = None) -> RemoteDocument | None:
        """The source's pointer; None if its ETag is `unless`. Raises as `sync`."""
        try:
            return self.remote.read_document(POINTER_FILE, unless=unless)
        except FileNotFoundError:
            raise StoreError(
                f"store {self.remote.url} has no {POINTER_FILE}; make a release with "
                f"`crma-train --adapters {self.remote.url}` or `crma-adapters push {self.remote.url}`"
            ) from None

    def take(self, document: RemoteDocument) -> bool:
        """As `sync`, for the holder of the folder's lock, with the source's pointer."""
        durable.remove_leftovers(self.root)
        pointer = Pointer.from_json(document.data, f"{self.remote.url}/{POINTER_FILE}")
        before = self._local_pointer()
        anew = self._starts_anew(before, pointer)
        release = self._take_live(pointer)
        self.fetch_documents(range(max(1, pointer.release - HISTORY), pointer.release), again=anew)
        self.fetch_parts(release.parts())
        for number in range(max(1, pointer.release - self._keep + 1), pointer.release):
            self._fetch_kept(number)
        if before != pointer:
            durable.write_durably(self.root, self.root / POINTER_FILE, document.data)
        self._seen = document.etag
        return before != pointer

    def fetch_documents(self, numbers: Iterable[int], *, again: bool = False) -> None:
        """Bring the documents of earlier releases that are not here, or all `again`; one the source lacks is
        left out."""
        missing = [number for number in numbers if again or not self._document_path(number).exists()]

        def fetch(number: int) -> None:
            try:
                found = self.remote.read_document(document_name(number))
            except FileNotFoundError:
                return
            if found is not None:
                self._write_document(number, found.data)

        _in_parallel(fetch, missing)

    def fetch_parts(self, parts: Iterable[tuple[str, Part]]) -> None:
        """Bring every part that is not here whole; each appears under its name once it is. As `sync`."""
        wanted = [(place, part) for place, part in parts if not self._holds(place, part)]
        files = [
            (f"{place}/{part.version}/{name}", digest)
            for place, part in wanted
            for name, digest in part.files.items()
        ]
        blobs = _in_parallel(lambda file: self.blobs.fetch(self.remote, *file), files)
        found = {digest: blob for (_, digest), blob in zip(files, blobs, strict=True)}
        for place, part in wanted:
            self._place(place, part, found)

    def _take_live(self, pointer: Pointer) -> Release:
        """The live release; its document is brought if the folder has another under its number."""
        path = self._document_path(pointer.release)
        data = path.read_bytes() if path.exists() else b""
        if sha256(data).hexdigest() != pointer.sha256:
            data = self.read_live_document(pointer)
        release = Release.from_json(data, f"{self.remote.url}/{document_name(pointer.release)}")
        if release.number != pointer.release:
            raise IntegrityError(
                f"{self.remote.url}/{document_name(pointer.release)}: is release {release.number} by its "
                "content; restore the file"
            )
        self._write_document(pointer.release, data)
        return release

    def read_live_document(self, pointer: Pointer) -> bytes:
        """The document that the pointer means, under its name or, right after a publication, its other one.

        Raises `IntegrityError` if neither has the pointer's digest.
        """
        given = "missing"
        for name in (document_name(pointer.release), candidate_name(pointer.release, pointer.sha256)):
            try:
                found = self.remote.read_document(name)
            except FileNotFoundError:
                continue
            if found is not None and (given := sha256(found.data).hexdigest()) == pointer.sha256:
                return found.data
        raise IntegrityError(
            f"{self.remote.url}/{document_name(pointer.release)}: sha256 is {given}, {POINTER_FILE} says "
            f"{pointer.sha256}; restore it, or go back to another release with `crma-adapters rollback N`"
        )

    def _starts_anew(self, before: Pointer | None, now: Pointer) -> bool:
        """Whether the source does not go on from what the folder has, and so replaces its history.

        Raises `StoreError` for that unless this mirror `follows`.
        """
        if before is None or before == now:
            return False
        if self._follows:
            return now.release <= before.release
        if now.release > before.release and self._had(before):
            return False
        raise StoreError(
            f"{self.root} has release {before.release}, which {self.remote.url} (release {now.release}) does "
            "not go on from; expected one history: push it there first, or take an empty folder"
        )

    def _had(self, pointer: Pointer) -> bool:
        """Whether the source has the release that `pointer` means among its own."""
        try:
            found = self.remote.read_document(document_name(pointer.release))
        except FileNotFoundError:
            return False
        return found is not None and sha256(found.data).hexdigest() == pointer.sha256

    def _fetch_kept(self, number: int) -> None:
        """The parts of an earlier release, as far as they are to be had: it is only kept, not served."""
        path = self._document_path(number)
        if not path.exists():
            return
        try:
            self.fetch_parts(Release.from_json(path.read_bytes(), str(path)).parts())
        except StoreAwayError:
            raise
        except CrmaError:
            return  # the reader of the folder says what it misses

    def _prune(self) -> None:
        """Let go of what no late release names; a folder that cannot be looked through stays as it is."""
        try:
            collect(Store(self.root), keep=max(self._keep, KEEP_RELEASES))
        except (StoreError, OSError):
            return
        self.blobs.prune()

    def _local_pointer(self) -> Pointer | None:
        try:
            return Pointer.from_json((self.root / POINTER_FILE).read_bytes())
        except (OSError, StoreError):
            return None

    def _holds(self, place: str, part: Part) -> bool:
        try:
            check_part(self.root, self.root / place / part.version, part, _kind(place))
        except StoreError:
            return False
        return True

    def _place(self, place: str, part: Part, blobs: Mapping[str, Path]) -> None:
        """The part out of `blobs`, cached files by digest."""
        beside = durable.temporary_path(self.root)
        beside.mkdir()
        for name, digest in part.files.items():
            blob, path = blobs[digest], beside / name
            try:
                path.hardlink_to(blob)
            except OSError:  # another file system, or one without links
                path.write_bytes(blob.read_bytes())
        check_part(self.root, beside, part, _kind(place))
        durable.move_folder_durably(self.root, beside, self.root / place / part.version)

    def _document_path(self, number: int) -> Path:
        return self.root / document_name(number)

    def _write_document(self, number: int, data: bytes) -> None:
        durable.make_folder_durably(self.root / RELEASES_FOLDER)
        durable.write_durably(self.root, self._document_path(number), data)


def document_name(number: int) -> str:
    """Where a release's document lies in every store."""
    return f"{RELEASES_FOLDER}/{number:04d}.json"


def candidate_name(number: int, digest: str) -> str:
    """Where a remote publisher puts it before the pointer names it: no two publishers write one name."""
    return f"{RELEASES_FOLDER}/{number:04d}.{digest[:12]}.json"


def _kind(place: str) -> PartKind:
    return _KINDS.get(place, ADAPTER)


def _in_parallel(work: Callable[[T], R], items: list[T]) -> list[R]:
    """`work` on every item, several at a time, in their order; the first error once all have ended."""
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        return [done.result() for done in [pool.submit(work, item) for item in items]]
