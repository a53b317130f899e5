"""Questions a user brings in files: examples of a domain, or questions whose domain is known."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.errors import DataError, RouterError
from crma_router.conversation.messages import conversation_text

_KEYS = ("question", "text", "prompt", "instruction", "input")
_SUFFIXES = (".jsonl", ".csv", ".txt")


@dataclass(frozen=True)
class Labelled:
    """A question and the domain it belongs to, None for none."""

    text: str
    domain: str | None


def read_questions(path: Path) -> list[str]:
    """Questions of a `.jsonl` file (rows with `question`, `text`, `prompt` or `messages`, or strings), of
    a `.csv` file, of a `.txt` file (one a line), or of all such files in a folder.

    Raises:
        DataError: nothing there, or a row that is none.
    """
    return [text for where, row in _rows(path) for text in [_text(where, row)] if text.strip()]


def read_labelled(path: Path) -> list[Labelled]:
    """Questions with a `domain` each, null for one that belongs to no domain. Raises as `read_questions`."""
    return [Labelled(_text(where, row), _domain(where, row)) for where, row in _rows(path)]


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise DataError(f"{path}: expected a .jsonl, .csv or .txt file of questions, or a folder of some")
    for file in files:
        try:
            # "utf-8-sig": spreadsheets and editors put a byte order mark in front.
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: cannot be read as UTF-8 ({error})") from error
        if file.suffix == ".csv":
            yield from _csv(file, text)
            continue
        # Not `splitlines`: U+2028 and its like may stand inside a JSON string.
        for at, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
            if line.strip():
                yield f"{file}:{at}", line.strip() if file.suffix == ".txt" else _json(f"{file}:{at}", line)


def _csv(file: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Rows by the names of the first line, which must have one of ours; else the first column is the
    question."""
    rows = csv.reader(io.StringIO(text, newline=""))
    head = [name.strip().lower() for name in next(rows, [])]
    if not any(name in _KEYS for name in head):
        if len(head) != 1:
            raise DataError(
                f"{file}: columns {', '.join(head)}; expected one of {', '.join(_KEYS)} among them"
            )
        rows, head = csv.reader(io.StringIO(text, newline="")), ["question"]
    for row in rows:
        if any(cell.strip() for cell in row):
            named = dict(zip(head, row, strict=False))
            yield (
                f"{file}:{rows.line_num}",
                named | ({"domain": named["domain"] or None} if "domain" in named else {}),
            )


def _json(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); expected one row a line") from error


def _text(where: str, row: Any) -> str:
    if isinstance(row, dict) and "messages" in row:
        try:
            return conversation_text(row["messages"])
        except RouterError as error:
            raise DataError(f"{where}: {error}") from error
    found = (
        [row] if isinstance(row, str) else [row.get(key) for key in _KEYS] if isinstance(row, dict) else []
    )
    text = next((value for value in found if isinstance(value, str)), None)
    if text is None:
        raise DataError(
            f"{where}: expected a string, or an object with messages or one of {', '.join(_KEYS)}"
        )
    return text


def _domain(where: str, row: Any) -> str | None:
    if not isinstance(row, dict) or "domain" not in row or not isinstance(row["domain"], str | None):
        raise DataError(f"{where}: expected an object with `domain`: a name, or null for none")
    domain: str | None = row["domain"]
    return domain
