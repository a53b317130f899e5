"""Answers on disk, so that a killed run goes on where it was: one JSON line each, appended as it comes."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from crma_adapters.errors import ConfigError

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Answer:
    """What one arm said to one question. `model` is the exact name of what answered; `finish` says why the
    answer ended (`length`: it was cut).
    """

    arm: str
    domain: str
    question: str
    model: str
    text: str
    finish: str

    @property
    def key(self) -> Key:
        """Which question to which arm."""
        return self.arm, self.domain, self.question


class AnswerLog:
    """The answers given under `setup`, held open for more; `damaged` lines were found and are ignored."""

    def __init__(self, path: Path, setup: str) -> None:
        self._setup = setup
        self._answers: dict[Key, Answer] = {}
        self.damaged = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]  # a killed writer may have left half a line
            self._read(whole)
            self._file = path.open("ab")
            self._file.truncate(len(whole))
        except OSError as error:
            raise ConfigError(
                f"{path}: answers cannot be kept here ({error}); give --work another"
            ) from error

    def __enter__(self) -> "AnswerLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, key: Key) -> Answer | None:
        """The answer, if it was given under this setup."""
        return self._answers.get(key)

    def add(self, answer: Answer) -> None:
        """Appends one answer and hands it to the operating system."""
        fields = dataclasses.asdict(answer) | {"setup": self._setup}
        line = json.dumps(fields | {"sha256": _seal(fields)}, ensure_ascii=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        self._answers[answer.key] = answer

    def _read(self, content: bytes) -> None:
        for line in filter(None, content.split(b"\n")):
            fields = _sound(line)
            if fields is None:
                self.damaged += 1
            elif fields.pop("setup") == self._setup:
                answer = Answer(**fields)
                self._answers[answer.key] = answer


def _sound(line: bytes) -> dict[str, Any] | None:
    """The line's fields without its seal; None if it is not what was written."""
    try:
        fields: dict[str, Any] = json.loads(line)
        return fields if fields.pop("sha256") == _seal(fields) else None
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _seal(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
