"""Rows of a dataset folder as the checks see them: with domain, file and text, whatever form they have.

Owns: which files of a folder are looked at, and one finding for every line that cannot be read. Knows nothing
of what is wrong with rows that can.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from crma_adapters.errors import CrmaError, DataError
from crma_adapters.store.names import check_domain_name
from crma_training.data.checks.finding import Finding
from crma_training.data.dataset import OUT_OF_DOMAIN, domain_names
from crma_training.data.rows import Row, decode_line, parse_object, question_of, row_of
from crma_training.data.split import HOLDOUT_SHARE, split_rows

ANSWERED = ("train", "validation", "holdout", "short_answer")
QUESTIONS = ("router_train", "router_eval")
REQUIRED = ("train", "holdout")
BOM = b"\xef\xbb\xbf"

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """One row. `part` is the file's role (train, holdout, ...); `row` is None for questions without answers.

    Attributes:
        key: equal keys ask the same; the definition of training's own refusal of leaks.
        texts: everything that is said in the row, the answer last if there is one.
    """

    domain: str
    part: str
    where: str
    key: str
    texts: tuple[str, ...]
    row: Row | None = None

    @property
    def answer(self) -> str:
        """What is learnt; empty for a question without an answer."""
        return self.texts[-1] if self.part in ANSWERED else ""


@dataclass
class Reading:
    """All readable rows of a folder, and what could not be read."""

    records: list[Record] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_folder(directory: Path, names: Sequence[str] | None = None) -> Reading:
    """Reads the named domains (None: all) and the queries of no domain, past every broken line.

    Raises:
        DataError: no such folder, no domains in it, or an unknown domain.
    """
    existing = domain_names(directory)
    if unknown := sorted(set(names or ()) - set(existing)):
        raise DataError(f"{directory}: unknown domain {', '.join(unknown)}; it has {', '.join(existing)}")
    reading = Reading()
    for name in existing if names is None else names:
        _read_domain(reading, directory, name)
    for part in QUESTIONS:
        _read_part(reading, OUT_OF_DOMAIN, part, directory / OUT_OF_DOMAIN / f"{part}.jsonl")
    return reading


def _read_domain(reading: Reading, directory: Path, name: str) -> None:
    try:
        check_domain_name(name)
    except CrmaError as error:
        reading.findings.append(Finding("domain-name", "error", name, str(directory / name), str(error)))
    folder = directory / name
    if not (folder / "train.jsonl").is_file():
        return _read_short_form(reading, name, directory / f"{name}.jsonl")
    for part in (*ANSWERED, *QUESTIONS):
        path = folder / f"{part}.jsonl"
        if _read_part(reading, name, part, path) == 0 and part in REQUIRED:
            reading.findings.append(Finding("empty", "error", name, str(path), "no usable rows, or no file"))
    return None


def _read_part(reading: Reading, domain: str, part: str, path: Path) -> int:
    """The number of usable rows."""
    form: Callable[[dict[str, Any], str], Row | str] = row_of if part in ANSWERED else question_of
    before = len(reading.records)
    for value, where in _values(reading, domain, path, form):
        reading.records.append(_record(domain, part, where, value))
    return len(reading.records) - before


def _read_short_form(reading: Reading, domain: str, path: Path) -> None:
    rows = tuple(row for row, _ in _values(reading, domain, path, row_of))
    try:
        train, holdout = split_rows(rows, HOLDOUT_SHARE, path)
    except DataError as error:
        reading.findings.append(Finding("empty", "error", domain, str(path), str(error)))
        train, holdout = rows, ()
    reading.records += [_record(domain, "train", row.where, row) for row in train]
    reading.records += [_record(domain, "holdout", row.where, row) for row in holdout]


def _values(
    reading: Reading, domain: str, path: Path, form: Callable[[dict[str, Any], str], T]
) -> Iterator[tuple[T, str]]:
    content = path.read_bytes() if path.is_file() else b""
    if content.startswith(BOM):
        reading.findings.append(
            Finding("encoding", "warning", domain, f"{path}:1", "byte order mark; save as plain UTF-8")
        )
    offset = 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        where, kind, fields = f"{path}:{number}", "encoding", {}
        try:
            text = decode_line(line, where, offset)
            kind = "broken-row"
            if text.strip():
                fields = parse_object(text, where)
                yield form(fields, where), where
        except (DataError, ValueError, RecursionError) as error:
            kind = "empty" if _says_nothing(fields) else kind
            detail = str(error).removeprefix(f"{where}: ")
            reading.findings.append(Finding(kind, "error", domain, where, detail))
        offset += len(line) + 1


def _says_nothing(fields: dict[str, Any]) -> bool:
    """Whether a question, an answer or a message is there but blank."""
    turns = fields.get("messages")
    contents = (
        [turn.get("content") for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    )
    texts = [fields.get("question"), fields.get("answer"), *contents]
    return any(isinstance(text, str) and not text.strip() for text in texts)


def _record(domain: str, part: str, where: str, value: Row | str) -> Record:
    if isinstance(value, str):
        return Record(domain, part, where, " ".join(value.casefold().split()), (value,))
    texts = tuple(message.content for message in value.messages)
    return Record(domain, part, where, value.key, texts, value)
