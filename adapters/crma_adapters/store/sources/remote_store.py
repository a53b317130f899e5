"""A store elsewhere, read in its mirror and changed at its source; the conditional write of the pointer is
what publishes.

A publication puts parts there first, then the release document under a name that no other publisher writes,
then replaces `release.json` if it is still the one that the publication built on, and last gives the document
its own name. Whoever publishes next does that last step for one that was killed before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from crma_adapters.errors import ConflictError, StoreError
from crma_adapters.io import durable
from crma_adapters.store.card import AdapterCard
from crma_adapters.store.ledger import POINTER_FILE, ReleaseLedger
from crma_adapters.store.parts import PartKind
from crma_adapters.store.release import Part, Pointer, Release
from crma_adapters.store.sources.mirror import Mirror, candidate_name, document_name
from crma_adapters.store.sources.remote import RemoteFiles
from crma_adapters.store.store import Store


class RemoteLedger(ReleaseLedger):
    """A mirror's ledger whose releases go to the source first."""

    def __init__(self, root: Path, remote: RemoteFiles) -> None:
        super().__init__(root)
        self._remote = remote
        self.etag: str | None = None

    def append(self, release: Release) -> None:
        """Make a release live at the source, then in the mirror.

        Raises `ConflictError` if another publisher was faster; nothing is live of this one then.
        """
        data = release.to_json()
        self.etag = commit(self._remote, {release.number: data}, self.etag)
        super().append(release)


class RemoteStore(Store):
    """The store that `mirror` follows."""

    def __init__(self, mirror: Mirror) -> None:
        super().__init__(mirror.root)
        self.mirror = mirror
        self._ledger: RemoteLedger = RemoteLedger(mirror.root, mirror.remote)
        self._begun = False

    def release(self, number: int) -> Release:
        """As `Store.release`; an old one is fetched."""
        self._ask_for(number)
        return super().release(number)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """As `Store.publishing`, on what the source has now. Raises `StoreError` if it cannot be published to
        safely, `StoreAwayError` if it cannot be reached, `ConflictError` if another publishes meanwhile."""
        if not self._begun:
            self.mirror.remote.check_writable()
            durable.make_folder_durably(self.root)
        with super().publishing():
            outermost, self._begun = not self._begun, True
            try:
                if outermost:
                    self._begin()
                yield
            finally:
                self._begun = not outermost

    def rollback(self, number: int) -> Release:
        """As `Store.rollback`; parts that are not in the mirror are fetched."""
        with self.publishing():
            self.mirror.fetch_parts(self.release(number).parts())
            return super().rollback(number)

    def stored_backbone(self, version: str) -> Part:
        """As `Store.stored_backbone`; one that an earlier release names is fetched."""
        self._bring("backbone", version)
        return super().stored_backbone(version)

    def _begin(self) -> None:
        remote = self.mirror.remote
        remote.check_conditional()
        try:
            document = remote.read_document(POINTER_FILE)
        except FileNotFoundError:
            document = None  # how a store begins, or a lost pointer
        if document is None:
            self._ledger.etag = None
            self._recover()
            return
        self._ledger.etag = document.etag
        try:
            pointer = Pointer.from_json(document.data, POINTER_FILE)
            self.mirror.take(document)
        except StoreError:
            self._recover()  # damaged: publishing is how it is restored
            return
        settle(self.mirror, pointer)

    def _recover(self) -> None:
        """Have the documents of a source without a sound pointer, so that numbers go on."""
        names = self.mirror.remote.list_names("releases")
        numbers = [int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdecimal()]
        (self.root / POINTER_FILE).unlink(missing_ok=True)
        self.mirror.fetch_documents(sorted(numbers), again=True)

    def _ask_for(self, number: int) -> None:
        path = self.root / document_name(number)
        if number > 0 and not path.exists() and number <= self._live_number():
            self.mirror.fetch_documents([number])

    def _live_number(self) -> int:
        try:
            return self._ledger.pointer().release
        except StoreError:
            return 0

    def _add(self, place: str, source: Path, kind: PartKind) -> Part:
        with self.publishing():
            part = super()._add(place, source, kind)
            upload_part(self.mirror.remote, self.root, place, part)
            return part

    def _stored_adapter(self, name: str, version: str) -> tuple[Part, AdapterCard]:
        self._bring(name, version)
        return super()._stored_adapter(name, version)

    def _bring(self, place: str, version: str) -> None:
        """Fetch a version that the mirror lacks and some release names."""
        if (self.root / place / version).is_dir():
            return
        for number in range(self._live_number(), 0, -1):
            try:
                parts = list(self.release(number).parts())
            except StoreError:
                continue
            found = [(where, part) for where, part in parts if (where, part.version) == (place, version)]
            if found:
                self.mirror.fetch_parts(found)
                return


def upload_part(remote: RemoteFiles, root: Path, place: str, part: Part) -> None:
    """Put every file of a part of the folder store `root` to `remote`."""
    for name in part.files:
        remote.write_file(f"{place}/{part.version}/{name}", root / place / part.version / name)


def commit(remote: RemoteFiles, documents: dict[int, bytes], etag: str | None) -> str | None:
    """Make the last of these release documents live at `remote` if its pointer's ETag is still `etag`; its
    ETag from then on.

    Every part must be there. Raises `ConflictError` if the pointer is another by now.
    """
    digests = {number: sha256(data).hexdigest() for number, data in documents.items()}
    live = max(documents)
    for number, data in documents.items():
        remote.write(candidate_name(number, digests[number]), data)
    pointer = Pointer(release=live, sha256=digests[live])
    written = remote.replace(POINTER_FILE, pointer.to_json(), etag)
    if written is None:
        for number in documents:
            remote.remove(candidate_name(number, digests[number]))
        raise ConflictError(
            f"{remote.url}: another publisher made a release live meanwhile, so nothing of this one is; "
            "give the command again"
        )
    for number, data in documents.items():
        remote.write(document_name(number), data)
        remote.remove(candidate_name(number, digests[number]))
    return written.etag


def settle(mirror: Mirror, pointer: Pointer) -> None:
    """Give the live release's document its own name, where its publisher was killed before it did."""
    data = mirror.read_live_document(pointer)
    try:
        found = mirror.remote.read_document(document_name(pointer.release))
    except FileNotFoundError:
        found = None
    if found is None or found.data != data:
        mirror.remote.write(document_name(pointer.release), data)
