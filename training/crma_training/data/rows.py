"""One line of a dataset file: what it says, where it stands, and what is wrong with it.

Owns: the two row forms (`question`/`answer` and OpenAI `messages`), questions without answers, and their
errors with file and line. Knows nothing of domains, splits or tokens.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.errors import DataError

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Row:
    """A conversation whose last message is the answer to learn; `where` is `file:line`. Rows with the same
    `entry` ask about the same fact."""

    messages: tuple[Message, ...]
    where: str
    source: str = ""
    licence: str = ""
    entry: str = ""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the answer."""
        return self.messages[:-1]

    @property
    def question(self) -> str:
        """The last user message."""
        return next(m.content for m in reversed(self.prompt) if m.role == "user")

    @property
    def answer(self) -> str:
        """The last message."""
        return self.messages[-1].content

    @property
    def key(self) -> str:
        """The prompt without case and spacing: equal keys ask the same."""
        return "\n".join(" ".join(m.content.casefold().split()) for m in self.prompt if m.role != "system")


def read_rows(path: Path) -> tuple[Row, ...]:
    """Training or holdout rows of one JSONL file.

    Raises:
        DataError: missing or empty file, not UTF-8, broken JSON, or a row that is not a question with an
            answer.
    """
    rows = tuple(row_of(fields, where) for fields, where in _objects(path))
    if not rows:
        raise DataError(f"{path}: no rows; give at least one {{'question', 'answer'}} object per line")
    return rows


def read_questions(path: Path) -> tuple[str, ...]:
    """Questions of a JSONL file whose rows need no answer (the router's data)."""
    return tuple(question_of(fields, where) for fields, where in _objects(path))


def question_of(fields: dict[str, Any], where: str) -> str:
    """The question of a row that needs no answer. Raises `DataError` if there is none."""
    return _text(fields, "question", where)


def _objects(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a JSONL file") from error
    offset = 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        where = f"{path}:{number}"
        text = decode_line(line, where, offset)
        offset += len(line) + 1
        if text.strip():
            yield parse_object(text, where), where


def decode_line(line: bytes, where: str, offset: int) -> str:
    """A line as text; `offset` is its first byte's position in the file. Raises `DataError`: not UTF-8."""
    try:
        return line.decode("utf-8-sig" if offset == 0 else "utf-8")
    except UnicodeDecodeError as error:
        position = offset + error.start
        raise DataError(
            f"{where}: not UTF-8, byte 0x{line[error.start]:02x} at position {position} of the file; "
            "save it as UTF-8"
        ) from error


def parse_object(text: str, where: str) -> dict[str, Any]:
    """The JSON object of one line. Raises `DataError`: broken JSON, or something else than an object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: broken JSON ({error.msg}, column {error.colno}); one object per line"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: {type(value).__name__} instead of an object; one {{...}} per line")
    return value


def row_of(fields: dict[str, Any], where: str) -> Row:
    """The row an object stands for. Raises `DataError`: not a question with an answer."""
    if "messages" in fields:
        messages = _messages(fields["messages"], where)
    else:
        question, answer = _text(fields, "question", where), _text(fields, "answer", where)
        messages = (Message("user", question), Message("assistant", answer))
    notes = (str(fields.get(name, "")) for name in ("source", "licence", "entry"))
    return Row(messages, where, *notes)


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DataError(f"{where}: 'messages' must be a list of {{'role', 'content'}} objects")
    messages = tuple(Message(_role(item, where), _text(item, "content", where)) for item in value)
    if not messages or messages[-1].role != "assistant":
        raise DataError(f"{where}: no answer; the last of 'messages' must have role 'assistant'")
    if not any(message.role == "user" for message in messages[:-1]):
        raise DataError(f"{where}: no question; 'messages' needs a 'user' turn before the answer")
    return messages


def _role(item: dict[str, Any], where: str) -> str:
    role = item.get("role")
    if role not in ROLES:
        raise DataError(f"{where}: role {role!r}; expected one of {', '.join(ROLES)}")
    return str(role)


def _text(fields: dict[str, Any], name: str, where: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: no {name}; {name!r} must be a non-empty string")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f"{where}: {name} has half of a surrogate pair, which is no character; remove it")
    return value
