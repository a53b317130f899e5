"""Writing that survives a kill or a power cut: beside, flushed to disk, then renamed into place.

Owns: temporary names, fsync, rename, and the lock that keeps writers apart. Knows nothing of what it writes.
"""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crma_adapters.errors import StoreError
from crma_adapters.io.regular_files import open_regular

TEMPORARY_PREFIX = ".tmp-"
LOCK_FILE = ".lock"
LOCK_TIMEOUT_S = 60.0

_CHUNK_BYTES = 2**20
_LOCK_POLL_S = 0.05


def temporary_path(root: Path) -> Path:
    """A fresh name in `root`, so on its file system; `remove_leftovers` takes it away if its writer dies."""
    return root / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"


def remove_leftovers(root: Path) -> None:
    """Remove what killed writers left in `root`. Only for the holder of the lock."""
    for path in root.glob(TEMPORARY_PREFIX + "*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_durably(root: Path, path: Path, data: bytes) -> None:
    """Put a file at `path`, somewhere in `root`: readers see the old one or the new one, whole."""
    temporary = temporary_path(root)
    _write(temporary, [data])
    temporary.replace(path)
    sync_folder(path.parent)


def copy_folder_durably(root: Path, source: Path, names: Iterable[str]) -> Path:
    """Copy the named files of `source` into a temporary folder of `root`; on disk when this returns."""
    temporary = temporary_path(root)
    temporary.mkdir()
    for name in names:
        with open_regular(source / name) as file:
            _write(temporary / name, iter(lambda: file.read(_CHUNK_BYTES), b""))
    sync_folder(temporary)
    return temporary


def move_folder_durably(root: Path, folder: Path, target: Path) -> None:
    """Rename a folder to `target`; a folder already there is moved aside first and removed."""
    make_folder_durably(target.parent)
    if target.exists():
        aside = target.replace(temporary_path(root))
        folder.replace(target)
        shutil.rmtree(aside)
    else:
        folder.replace(target)
    sync_folder(target.parent)


def make_folder_durably(path: Path) -> None:
    """Make a folder, and those above it, if it is not there."""
    if not path.is_dir():
        make_folder_durably(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk, without which a rename may be lost in a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(root: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the one writer's lock of `root`; the kernel releases it when its holder dies.

    Raises `StoreError` if another writer holds it for `timeout_s`.
    """
    descriptor = os.open(root / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        _wait_for_lock(descriptor, root, timeout_s)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, root: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"{root}: another publisher has held {LOCK_FILE} for {timeout_s:g} s; wait or stop it"
                ) from None
            time.sleep(_LOCK_POLL_S)


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
