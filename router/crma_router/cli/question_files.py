"""Questions a user brings in files: examples of a domain, or questions whose domain is known.

Owns: which files and rows are understood. Knows nothing of routers.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.errors import DataError

_KEYS = ("question", "text", "prompt")


@dataclass(frozen=True)
class Labelled:
    """A question and the domain it belongs to, None for none."""

    text: str
    domain: str | None


def read_questions(path: Path) -> list[str]:
    """Questions of a `.jsonl` file (rows with `question`, `text` or `prompt`, or strings), of a `.txt` file
    (one a line), or of all such files in a folder.

    Raises:
        DataError: nothing there, or a row that is none.
    """
    return [text for where, row in _rows(path) for text in [_text(where, row)] if text.strip()]


def read_labelled(path: Path) -> list[Labelled]:
    """Questions with a `domain` each, null for one that belongs to no domain. Raises as `read_questions`."""
    return [Labelled(_text(where, row), _domain(where, row)) for where, row in _rows(path)]


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    files = sorted(p for p in path.iterdir() if p.suffix in (".jsonl", ".txt")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise DataError(f"{path}: expected a .jsonl or .txt file of questions, or a folder of some")
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: cannot be read as UTF-8 ({error})") from error
        for at, line in enumerate(lines, 1):
            if line.strip():
                yield f"{file}:{at}", line if file.suffix == ".txt" else _json(f"{file}:{at}", line)


def _json(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); expected one row a line") from error


def _text(where: str, row: Any) -> str:
    found = (
        [row] if isinstance(row, str) else [row.get(key) for key in _KEYS] if isinstance(row, dict) else []
    )
    text = next((value for value in found if isinstance(value, str)), None)
    if text is None:
        raise DataError(f"{where}: expected a string, or an object with one of {', '.join(_KEYS)}")
    return text


def _domain(where: str, row: Any) -> str | None:
    if not isinstance(row, dict) or "domain" not in row or not isinstance(row["domain"], str | None):
        raise DataError(f"{where}: expected an object with `domain`: a name, or null for none")
    domain: str | None = row["domain"]
    return domain
