"""A write-ahead journal: lines appended durably, each once, read back in order after any crash."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.io.document import parse_json
from crma_adapters.io.durable import make_folder_durably, sync_folder

STREAM_FOLDER = ".stream"
JOURNAL_FILE = "journal.jsonl"
MAX_LINE_BYTES = 2**20


@dataclass(frozen=True)
class Entry:
    """One line of a journal. `number` counts from 1; `end` is the byte after it, where reading goes on.

    `digest` is the sha256 hex of `value` as JSON with sorted keys: equal values are one entry.
    """

    number: int
    digest: str
    value: dict[str, Any]
    end: int


@dataclass(frozen=True)
class Position:
    """How far a journal was read: entries and bytes."""

    number: int = 0
    end: int = 0


@dataclass(frozen=True)
class Appended:
    """What became of values: entries written now, and values that were there already."""

    written: int
    repeated: int


def journal_path(store: Path) -> Path:
    """Where the stream's journal of a store lies; the store's own listing leaves dotted folders out."""
    return store / STREAM_FOLDER / JOURNAL_FILE


class Journal:
    """The journal in the file `path`. Several processes may append; each append is under the file's lock.

    When `append` returns, the values are on disk. A line that a killed writer left unfinished was never
    acknowledged: readers stop before it and the next writer cuts it off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[bytes] = set()
        self._at = Position()

    def append(self, values: Iterable[Mapping[str, Any]]) -> Appended:
        """Writes the values that are not there yet, all of them or, after a crash, the first of them.

        Raises:
            StoreError: a value is no JSON or too long (none is written then), or the disk refuses.
            IntegrityError: a whole line of the journal cannot be read.
        """
        lines = [_line(value, at) for at, value in enumerate(values, 1)]
        try:
            make_folder_durably(self.path.parent)
            with self._locked() as file:
                self._catch_up(file)
                fresh = {digest: line for digest, line in lines if digest not in self._known}
                self._write(file, fresh)
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error}); nothing was acknowledged: make room and send again"
            ) from error
        return Appended(len(fresh), len(lines) - len(fresh))

    def read(self, after: Position = Position()) -> Iterator[Entry]:
        """The entries after a position that are whole now; none where there is no journal yet.

        Raises:
            IntegrityError: a whole line is damaged, or the journal is shorter than what was read before.
        """
        if not self.path.exists():
            if after.end:
                raise IntegrityError(f"{self.path}: gone, {after.number} entries were read; restore the file")
            return
        with self.path.open("rb") as file:
            yield from _entries(file, after, self.path)

    def size_bytes(self) -> int:
        """Of the file; 0 where there is none."""
        return self.path.stat().st_size if self.path.exists() else 0

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if new:
                sync_folder(self.path.parent)
            yield file

    def _catch_up(self, file: BinaryIO) -> None:
        """Learns what others have written, and cuts off an unfinished last line."""
        for entry in _entries(file, self._at, self.path):
            self._known.add(bytes.fromhex(entry.digest))
            self._at = Position(entry.number, entry.end)
        file.truncate(self._at.end)

    def _write(self, file: BinaryIO, lines: Mapping[bytes, bytes]) -> None:
        if not lines:
            return
        file.seek(self._at.end)
        data = b"".join(lines.values())
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        self._known.update(lines)
        self._at = Position(self._at.number + len(lines), self._at.end + len(data))


def digest_of(value: Mapping[str, Any]) -> str:
    """sha256 hex of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()


def _line(value: Mapping[str, Any], at: int) -> tuple[bytes, bytes]:
    try:
        data = _canonical(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"value {at}: not JSON ({error}); give objects of plain JSON values") from error
    digest = hashlib.sha256(data).digest()
    line = b'{"digest":"' + digest.hex().encode() + b'","value":' + data + b"}\n"
    if len(line) > MAX_LINE_BYTES:
        raise StoreError(f"value {at}: {len(line)} bytes, expected up to {MAX_LINE_BYTES}; split it")
    return digest, line


def _entries(file: BinaryIO, after: Position, path: Path) -> Iterator[Entry]:
    size = file.seek(0, os.SEEK_END)
    if size < after.end:
        raise IntegrityError(
            f"{path}: {size} bytes, {after.end} were read before; it was cut or replaced: restore the file"
        )
    file.seek(after.end)
    number, end = after.number, after.end
    while (line := file.readline(MAX_LINE_BYTES + 1)).endswith(b"\n"):
        number, end = number + 1, end + len(line)
        where = f"{path}:{number}"
        found = parse_json(line, where)
        if not isinstance(found, dict) or not isinstance(value := found.get("value"), dict):
            raise IntegrityError(f"{where}: no entry; expected digest and value: restore the file")
        if found.get("digest") != digest_of(value):
            raise IntegrityError(f"{where}: its digest is not that of its value; restore the file")
        yield Entry(number, found["digest"], value, end)
    if len(line) > MAX_LINE_BYTES:
        raise IntegrityError(f"{path}:{number + 1}: over {MAX_LINE_BYTES} bytes; restore the file")
