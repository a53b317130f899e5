"""The admin key of a server that was given none.

Owns: making one, in a file only its owner may read. The key itself is never printed.
"""

import os
import secrets
from pathlib import Path

from crma_adapters.errors import ConfigError

_KEY_BYTES = 32


def own_admin_key(path: Path) -> Path:
    """`path`, a file with one key; made if there is none, or if someone else could have read it.

    Raises:
        ConfigError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _is_private(path):
            _write(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: the admin key cannot be kept there ({error.strerror}); pass --admin-key-file or set "
            "CRMA_ADMIN_KEYS"
        ) from error
    return path


def _is_private(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return path.is_file() and not path.is_symlink() and not status.st_mode & 0o077 and status.st_size > 0


def _write(path: Path) -> None:
    """Beside and renamed, so that two servers that start at once end up with one whole key."""
    beside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(_KEY_BYTES) + "\n")
    beside.replace(path)
