"""Copying the history of one store to another: `push` to a source, `pull` from one."""

from hashlib import sha256
from pathlib import Path

from crma_adapters.errors import StoreError
from crma_adapters.store.collection import KEEP_RELEASES
from crma_adapters.store.ledger import POINTER_FILE
from crma_adapters.store.release import Pointer, Release
from crma_adapters.store.sources.mirror import Mirror, document_name
from crma_adapters.store.sources.remote import RemoteDocument, RemoteFiles
from crma_adapters.store.sources.remote_store import commit, upload_part
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release


def push(store: Store, remote: RemoteFiles, *, keep: int = KEEP_RELEASES) -> Release:
    """Make the live release of the folder `store` live at `remote`, with the history before it.

    The parts of the last `keep` releases go along, as far as the folder has them. What `remote` has must be a
    release of this store: raises `StoreError` if it is not, if the live release does not verify or if the
    source cannot be published to safely, and `ConflictError` if another publishes meanwhile.
    """
    remote.check_conditional()
    with store.publishing():
        live = store.live()
        verify_release(store, live)
        document = _pointer_document(remote)
        before = Pointer.from_json(document.data, f"{remote.url}/{POINTER_FILE}") if document else None
        _check_goes_on(store, remote, before, live)
        sent = set()
        for release in reversed(store.latest(keep)):
            if release.number != live.number and store.missing_folders(release):
                continue
            for place, part in release.parts():
                if (place, part.version) not in sent:
                    upload_part(remote, store.root, place, part)
                    sent.add((place, part.version))
        first = before.release + 1 if before else 1
        numbers = [each for each in range(first, live.number) if (store.root / document_name(each)).exists()]
        if first <= live.number:
            documents = {number: _document(store.root, number) for number in (*numbers, live.number)}
            commit(remote, documents, document.etag if document else None)
        return live


def pull(mirror: Mirror) -> Release:
    """Bring what the source has into the mirror's folder; its live release. Raises as `Mirror.sync`, and
    `StoreError` if the folder has releases that the source does not go on from."""
    mirror.sync()
    store = Store(mirror.root)
    live = store.live()
    verify_release(store, live)
    return live


def _pointer_document(remote: RemoteFiles) -> RemoteDocument | None:
    try:
        return remote.read_document(POINTER_FILE)
    except FileNotFoundError:
        return None


def _check_goes_on(store: Store, remote: RemoteFiles, before: Pointer | None, live: Release) -> None:
    if before is None:
        return
    try:
        ours = sha256(_document(store.root, before.release)).hexdigest()
    except StoreError:
        ours = None
    if before.release > live.number or ours != before.sha256:
        raise StoreError(
            f"{remote.url} has release {before.release}, which {store.root} (release {live.number}) does not "
            "go on from; expected one history: `crma-adapters pull` it into an empty folder and publish there"
        )


def _document(root: Path, number: int) -> bytes:
    path = root / document_name(number)
    try:
        return path.read_bytes()
    except OSError:
        raise StoreError(f"{path}: is missing; expected every release's document: restore it") from None
