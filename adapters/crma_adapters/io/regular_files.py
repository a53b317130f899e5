"""Reading files that may have been put there by anyone.

Owns: regular files only, no symlink on the way, bounded size, digests. Knows nothing of what the files mean.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.io.document import MAX_DOCUMENT_BYTES

_CHUNK_BYTES = 2**20


def check_no_symlink(root: Path, path: Path) -> None:
    """Raise `IntegrityError` if `path` is not below `root`, or if a symlink stands between them.

    `root` itself may be one: it is the user's own word.
    """
    if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
        raise IntegrityError(f"{path}: leaves {root}; expected a path inside it")
    step = root
    for name in path.relative_to(root).parts:
        step = step / name
        if step.is_symlink():
            raise IntegrityError(f"{step}: is a symlink; expected the file or folder itself: copy it there")


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, following no symlink in its last step.

    Raises `StoreError` if missing or unreadable, `IntegrityError` if it is a symlink, a folder or a device.
    """
    try:
        # O_NONBLOCK: opening a FIFO put there by someone would hang for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StoreError(f"{path}: is missing; restore it, or publish again") from None
    except OSError as error:
        if path.is_symlink():
            raise IntegrityError(f"{path}: is a symlink; expected the file itself: copy it there") from None
        raise StoreError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IntegrityError(f"{path}: is not a regular file; remove it")
    return os.fdopen(descriptor, "rb")


def read_document(path: Path) -> bytes:
    """The bytes of a JSON document. Raises as `open_regular`, and `IntegrityError` if it is too large."""
    with open_regular(path) as file:
        data = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise IntegrityError(f"{path}: is over {MAX_DOCUMENT_BYTES} bytes; expected a small JSON document")
    return data


def sha256_file(path: Path) -> str:
    """The sha256 hex digest of a regular file, streamed. Raises as `open_regular`."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def list_folder(path: Path) -> list[str]:
    """The sorted names in a folder. Raises `StoreError` if there is no such folder."""
    try:
        return sorted(entry.name for entry in path.iterdir())
    except FileNotFoundError:
        raise StoreError(f"{path}: is missing; restore it, or publish again") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read as a folder ({error.strerror})") from None
