"""The keys a request may come with, and the admin key of a server that was given none; no key is ever
printed."""

import hashlib
import hmac
import os
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path

from crma_adapters.errors import ConfigError

FINGERPRINT_LENGTH = 8
_KEY_BYTES = 32
_MAX_FILE_BYTES = 2**20


@dataclass(frozen=True)
class KeySource:
    """Keys given outright and a file of further ones, one a line; `#` begins a comment line."""

    given: tuple[str, ...] = field(default=(), repr=False)
    file: Path | None = None

    def __bool__(self) -> bool:
        """Whether keys were asked for at all. A file that is emptied later still asks for one."""
        return bool(self.given) or self.file is not None


class ApiKeyStore:
    """The keys of a source as they are now."""

    def __init__(self, source: KeySource) -> None:
        """Raises `ConfigError` if the file cannot be read or holds no key."""
        self.required = bool(source)
        self._file = source.file
        self._given = _digests(source.given)
        self._signature: object = None
        self._filed: tuple[bytes, ...] = ()
        if source.file is not None:
            self._signature, self._filed = _signature(source.file), _read(source.file)
            if not self._filed:
                raise ConfigError(f"{source.file}: holds no key; expected one a line")

    def find(self, key: bytes) -> str | None:
        """The fingerprint of `key` if it is one of these, after looking whether the file has changed."""
        self._refresh()
        digest = hashlib.sha256(key).digest()
        found = False
        for known in (*self._given, *self._filed):  # all of them, always: time tells nothing
            found |= hmac.compare_digest(digest, known)
        return digest.hex()[:FINGERPRINT_LENGTH] if found else None

    def _refresh(self) -> None:
        """A file that cannot be read (just being replaced, say) leaves the keys as they were."""
        if self._file is None:
            return
        try:
            signature = _signature(self._file)
            if signature == self._signature:
                return
            self._filed = _read(self._file)
        except ConfigError as error:
            if self._signature is not None:
                print(f"keys unchanged: {error}", file=sys.stderr, flush=True)
            self._signature = None
            return
        self._signature = signature


def _signature(file: Path) -> object:
    try:
        status = file.stat()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); expected keys, one a line") from error
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


def _read(file: Path) -> tuple[bytes, ...]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
        lines = [line.strip() for line in data.decode("utf-8").splitlines()]
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); expected keys, one a line") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is no UTF-8 text; expected keys, one a line") from error
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{file}: is over {_MAX_FILE_BYTES} bytes; expected keys, one a line")
    return _digests(tuple(line for line in lines if line and not line.startswith("#")))


def _digests(keys: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(hashlib.sha256(key.encode("utf-8")).digest() for key in keys)


def own_admin_key(path: Path) -> Path:
    """`path`, a file with one key; made if there is none, or if someone else could have read it.

    Raises:
        ConfigError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _is_private(path):
            _write_key(path)
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


def _write_key(path: Path) -> None:
    """Beside and renamed, so that two servers that start at once end up with one whole key."""
    beside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(_KEY_BYTES) + "\n")
    beside.replace(path)
