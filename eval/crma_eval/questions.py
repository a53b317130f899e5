"""Held-out questions with the domain that should answer them.

Owns: the file's form. Knows nothing of servers.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import DataError


@dataclass(frozen=True)
class Question:
    """`domain` is None for small talk, which the backbone alone should answer."""

    text: str
    domain: str | None


def read_questions(path: Path) -> list[Question]:
    """Read JSON lines {"domain": str or null, "question": str}.

    Raises:
        DataError: the file is missing, empty, not UTF-8, or a line is not of this form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} ({error}); expected JSON lines in UTF-8") from error
    questions = [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise DataError(f'{path} is empty; expected lines {{"domain": ..., "question": ...}}')
    return questions


def _parse(line: str, where: str) -> Question:
    try:
        row = json.loads(line)
        text, domain = row["question"], row["domain"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{where}: expected {{"domain": ..., "question": ...}}, found {line[:80]!r}'
        ) from error
    if not isinstance(text, str) or not text.strip() or not (domain is None or isinstance(domain, str)):
        raise DataError(f"{where}: question must be a non-empty string and domain a string or null")
    return Question(text, domain)
