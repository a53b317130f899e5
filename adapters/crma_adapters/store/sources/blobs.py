"""Files of remote stores, cached by their sha256: fetched once, resumed where a fetch was cut."""

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from crma_adapters.errors import IntegrityError, StoreAwayError
from crma_adapters.io.regular_files import sha256_file
from crma_adapters.store.sources.remote import RemoteFiles, patiently

CHUNK_BYTES = 8 * 2**20
_YOUNG_S = 3600.0


class BlobCache:
    """`folder/<sha256>` are whole files, `folder/<sha256>.partial` those on their way."""

    def __init__(self, folder: Path, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._folder = folder
        self._chunk_bytes = chunk_bytes
        self._closed = threading.Event()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_closed": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state | {"_closed": threading.Event()})

    def close(self) -> None:
        """End fetches under way after their present chunk; what came so far is kept."""
        self._closed.set()

    def fetch(self, remote: RemoteFiles, name: str, sha256: str) -> Path:
        """The file `name` of `remote` whose digest is `sha256`, in the cache.

        Raises `IntegrityError` if what the source has is not it, `StoreAwayError` if it cannot be reached;
        what came until then is kept for the next call.
        """
        target = self._folder / sha256
        self._folder.mkdir(parents=True, exist_ok=True)
        with _locked(self._folder / f"{sha256}.partial") as partial:
            if target.is_file() and sha256_file(target) == sha256:
                return target
            resumed = os.fstat(partial.fileno()).st_size > 0
            given = self._complete(remote, name, partial)
            if given != sha256 and resumed:  # of a source that had something else then, or a crash
                partial.truncate(0)
                given = self._complete(remote, name, partial)
            if given != sha256:
                partial.truncate(0)
                raise IntegrityError(
                    f"{remote.url}/{name}: sha256 is {given}, the release says {sha256}; "
                    "restore it, or publish it again"
                )
            os.fsync(partial.fileno())
            (self._folder / f"{sha256}.partial").replace(target)
        return target

    def prune(self) -> None:
        """Remove whole files that no mirror links to any more, nor is about to."""
        for path in self._folder.glob("*"):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            if path.suffix != ".partial" and facts.st_nlink == 1 and facts.st_mtime < time.time() - _YOUNG_S:
                path.unlink(missing_ok=True)

    def _complete(self, remote: RemoteFiles, name: str, partial: BinaryIO) -> str:
        """Append what is missing; the digest of the whole. A few failures on the way are sat out."""
        size_bytes = patiently(lambda: remote.size_bytes(name))
        digest, start = _digest(partial)
        while start < size_bytes:
            if self._closed.is_set():
                raise StoreAwayError(f"{remote.url}/{name}: not fetched to its end: this process is ending")
            data = self._chunk(remote, name, start, min(start + self._chunk_bytes, size_bytes))
            if len(data) == size_bytes and start > 0:  # a server without ranges: the whole, again
                partial.seek(0)
                partial.truncate()
                digest, start = hashlib.sha256(), 0
            if not data or start + len(data) > size_bytes:
                raise StoreAwayError(
                    f"{remote.url}/{name}: {len(data)} bytes came at {start} of {size_bytes}; "
                    "see to the source"
                )
            partial.write(data)
            partial.flush()
            digest.update(data)
            start += len(data)
        return digest.hexdigest()

    @staticmethod
    def _chunk(remote: RemoteFiles, name: str, start: int, end: int) -> bytes:
        return patiently(lambda: remote.read_range(name, start, end))


def _digest(file: BinaryIO) -> "tuple[hashlib._Hash, int]":
    """The digest of what a file holds so far, and how many bytes that is."""
    digest, size_bytes = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(2**20):
        digest.update(chunk)
        size_bytes += len(chunk)
    return digest, size_bytes


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The partial file at `path`, this process's and thread's alone; removed if it is empty in the end."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "r+b")
        fcntl.flock(file, fcntl.LOCK_EX)
        # Another that held the lock may have renamed or removed the file meanwhile.
        if _is_at(file, path):
            break
        file.close()
    try:
        yield file
    finally:
        if os.fstat(file.fileno()).st_size == 0:
            path.unlink(missing_ok=True)
        file.close()
