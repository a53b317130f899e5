"""Held-out questions with the domain that should answer them: their file, and drawing them from data."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.errors import DataError

SMALL_TALK_SOURCE = "crma"  # the demo data's own list; other sources only look like small talk


@dataclass(frozen=True)
class Question:
    """`domain` is None for small talk, which the backbone alone should answer."""

    text: str
    domain: str | None


def draw_questions(data: Path, per_domain: int) -> list[Question]:
    """`per_domain` evenly spaced holdout questions of every domain, and as many of small talk.

    Raises:
        DataError: `data` was not made by crma-train demo-data, or has too few rows.
    """
    drawn = []
    for path in sorted(data.glob("*/holdout.jsonl")):
        drawn += _spaced(
            [Question(row["question"], path.parent.name) for row in _rows(path)], per_domain, path
        )
    path = data / "out_of_domain" / "router_eval.jsonl"
    small_talk = [row for row in _rows(path) if row["source"] == SMALL_TALK_SOURCE]
    return drawn + _spaced([Question(row["question"], None) for row in small_talk], per_domain, path)


def _spaced(questions: list[Question], count: int, path: Path) -> list[Question]:
    if len(questions) < count:
        raise DataError(
            f"{path} has {len(questions)} fitting rows, --per-domain wants {count}; ask for fewer"
        )
    return [questions[index * len(questions) // count] for index in range(count)]


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); make it with crma-train demo-data") from error


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


def write_questions(path: Path, questions: list[Question]) -> None:
    """Write them as `read_questions` reads them."""
    rows = ({"domain": each.domain, "question": each.text} for each in questions)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
