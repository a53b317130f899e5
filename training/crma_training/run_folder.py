"""The run folder: what a sequence has finished, kept so that a killed run goes on where it was.

`run.json` says what this run is; every finished stage is a folder with a seal over its files. A stage is
written in a working folder and renamed when complete, so a stage folder is whole or absent.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from crma_adapters.errors import ConfigError, TrainingError
from crma_adapters.io.durable import sync_folder, write_durably

IDENTITY = "run.json"
SEAL = "seal.json"
WORKING = ".working-"  # and the name of the stage
LOCK = ".lock"


class RunFolder:
    """A run folder that belongs to `identity`, held by this process until it ends.

    Raises:
        ConfigError: the folder belongs to another run; the message names what differs.
        TrainingError: another process trains in it, or it holds something else.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / LOCK).open("w")
        except OSError as error:
            raise TrainingError(
                f"{path}: no run folder can be made here ({error}); give --run another"
            ) from error
        try:
            self._take_lock()
            self._claim(identity)
        except BaseException:
            self.close()
            raise

    def finished(self, stage: str) -> Path | None:
        """The stage's folder if it was finished, its files checked against their digests; else None.

        Raises:
            TrainingError: a file of a finished stage is missing or changed.
        """
        folder = self.path / stage
        if not folder.exists():
            return None
        sealed = _read_json(folder / SEAL)
        found = file_digests(folder)
        for name in sorted(sealed.keys() | found.keys()):
            if sealed.get(name) != found.get(name):
                raise TrainingError(
                    f"{folder / name} is not what the run wrote (missing, added or changed); "
                    f"delete {self.path} to train again from the start"
                )
        return folder

    def unfinished(self, stage: str) -> Path:
        """Where a stage is written; there between runs if it was begun and is kept."""
        return self.path / (WORKING + stage)

    @contextmanager
    def stage(self, stage: str, *, keep: bool = False) -> Iterator[Path]:
        """A working folder that becomes the finished stage on a clean exit.

        On an error it vanishes, or stays if `keep`; then the next run is given it as it is, with what was
        logged and the checkpoints to go on from.
        """
        working = self.unfinished(stage)
        if not keep:
            shutil.rmtree(working, ignore_errors=True)
        working.mkdir(exist_ok=keep)
        try:
            yield working
            (working / SEAL).write_bytes(json_bytes(file_digests(working)))
            _sync_tree(working)
            working.rename(self.path / stage)
            sync_folder(self.path)
        finally:
            if not keep:
                shutil.rmtree(working, ignore_errors=True)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process use the folder."""
        self._lock.close()

    def _claim(self, identity: dict[str, Any]) -> None:
        known = self.path / IDENTITY
        if known.exists():
            _refuse_difference(self.path, _read_json(known), identity)
        elif any(item.name != LOCK for item in self.path.iterdir()):
            raise TrainingError(f"{self.path} is not empty and not a run folder; give --run another folder")
        else:
            write_durably(self.path, known, json_bytes(identity))

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(f"{self.path}: another crma-train is at work in this run folder") from error


def json_bytes(value: dict[str, Any]) -> bytes:
    """The one form in which a run writes JSON."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _refuse_difference(path: Path, known: dict[str, Any], given: dict[str, Any]) -> None:
    old, new = _flat(known), _flat(given)
    differing = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if differing:
        what = "; ".join(f"{name} was {old.get(name)!r}, now {new.get(name)!r}" for name in differing)
        raise ConfigError(
            f"{path} belongs to another run: {what}; go on with the same values or give --run another folder"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, dict)
        flat.update(_flat(value, f"{prefix}{name}.") if nested else {prefix + name: value})
    return flat


def file_digests(folder: Path) -> dict[str, str]:
    """sha256 hex of every file below `folder` but its seal, by relative path."""
    files = sorted(item for item in folder.rglob("*") if item.is_file() and item.name != SEAL)
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{path} cannot be read ({error}); delete {path.parent} to start again"
        ) from error
    return value


def _sync_tree(folder: Path) -> None:
    for item in folder.rglob("*"):
        if item.is_file():
            with item.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(item)
    sync_folder(folder)
