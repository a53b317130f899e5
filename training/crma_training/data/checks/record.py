"""Rows of a dataset folder as the checks see them, and one finding for every line that cannot be read."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crma_adapters.errors import CrmaError, DataError
from crma_adapters.store.names import check_domain_name
from crma_training.data.checks.finding import Finding
from crma_training.data.dataset import OUT_OF_DOMAIN, DomainSource, domain_names, domain_source
from crma_training.data.formats import question_of, row_of
from crma_training.data.rows import Row
from crma_training.data.sources import BOM, Raw, read_file
from crma_training.data.split import HOLDOUT_SHARE, split_rows

ANSWERED = ("train", "validation", "holdout", "short_answer")
QUESTIONS = ("router_train", "router_eval")
REQUIRED = ("train", "holdout")


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


def read_folder(
    directory: Path, names: Sequence[str] | None = None, columns: Mapping[str, str] | None = None
) -> Reading:
    """Reads the named domains (None: all) and the queries of no domain, past every broken line.

    Raises:
        DataError: no such folder, no domains in it, or an unknown domain.
    """
    existing = domain_names(directory)
    if unknown := sorted(set(names or ()) - set(existing)):
        raise DataError(f"{directory}: unknown domain {', '.join(unknown)}; it has {', '.join(existing)}")
    reading = Reading()
    for name in existing if names is None else names:
        _read_domain(reading, directory, name, columns or {})
    for part in QUESTIONS:
        _read_questions(reading, OUT_OF_DOMAIN, part, directory / OUT_OF_DOMAIN / f"{part}.jsonl")
    return reading


def _read_domain(reading: Reading, directory: Path, name: str, columns: Mapping[str, str]) -> None:
    try:
        check_domain_name(name)
    except CrmaError as error:
        reading.findings.append(Finding("domain-name", "error", name, str(directory / name), str(error)))
    source, folder = domain_source(directory, name), directory / name
    columns = {**columns, **source.columns}
    found = {part: _rows(reading, name, source, part, columns) for part in source.parts}
    if len(found) == 1:
        found = _split(reading, name, found["train"], source.label("train"))
    short = folder / "short_answer.jsonl"
    if short.is_file():
        found["short_answer"] = _rows(
            reading, name, DomainSource({"short_answer": (short,)}), "short_answer", columns
        )
    for part, rows in found.items():
        if not rows and part in REQUIRED and len(source.parts) > 1:
            where = source.label(part)
            reading.findings.append(Finding("empty", "error", name, where, "no usable rows, or no file"))
        reading.records += [_record(name, part, row.where, row) for row in rows]
    reading.findings += _unused(name, [row for rows in found.values() for row in rows])
    for part in QUESTIONS:
        _read_questions(reading, name, part, folder / f"{part}.jsonl")


def _split(reading: Reading, name: str, rows: tuple[Row, ...], where: str) -> dict[str, tuple[Row, ...]]:
    try:
        train, holdout = split_rows(rows, HOLDOUT_SHARE, where)
    except DataError as error:
        reading.findings.append(Finding("empty", "error", name, where, str(error)))
        train, holdout = rows, ()
    return {"train": train, "holdout": holdout}


def _unused(domain: str, rows: Sequence[Row]) -> Iterator[Finding]:
    """One finding for each field of a file that no format knows."""
    times = Counter((_file(row.where), field) for row in rows for field in row.unused)
    first = {(_file(row.where), field): row for row in reversed(rows) for field in row.unused}
    for place, count in times.items():
        row = first[place]
        detail = f"field {place[1]!r} of {count} rows is not used (read as {row.form})"
        yield Finding("unknown-field", "warning", domain, row.where, detail)


def _file(where: str) -> str:
    """The file of `file:12` or `file[12]`."""
    return re.sub(r"(:\d+|\[\d+\])$", "", where)


def _rows(
    reading: Reading, domain: str, source: DomainSource, part: str, columns: Mapping[str, str]
) -> tuple[Row, ...]:
    for path in source.parts[part]:
        _note_bom(reading, domain, path)
    try:
        raws = list(source.read(part)) if source.hub or all(p.is_file() for p in source.parts[part]) else []
    except DataError as error:
        reading.findings.append(Finding("broken-row", "error", domain, source.label(part), str(error)))
        raws = []
    return tuple(_values(reading, domain, raws, lambda fields, where: row_of(fields, where, columns)))


def _read_questions(reading: Reading, domain: str, part: str, path: Path) -> None:
    if path.is_file():
        _note_bom(reading, domain, path)
        for raw in read_file(path):
            for question in _values(reading, domain, [raw], question_of):
                reading.records.append(_record(domain, part, raw.where, question))


def _note_bom(reading: Reading, domain: str, path: Path) -> None:
    if path.is_file():
        with path.open("rb") as stream:
            if stream.read(len(BOM)) == BOM:
                detail = "byte order mark; save as plain UTF-8"
                reading.findings.append(Finding("encoding", "warning", domain, f"{path}:1", detail))


def _values(
    reading: Reading, domain: str, raws: Sequence[Raw], form: Callable[[dict[str, Any], str], Any]
) -> Iterator[Any]:
    for raw in raws:
        try:
            if raw.error is not None:
                raise raw.error
            yield form(raw.fields, raw.where)
        except (DataError, ValueError, RecursionError) as error:
            kind = "empty" if _says_nothing(raw.fields) else raw.kind
            detail = str(error).removeprefix(f"{raw.where}: ")
            reading.findings.append(Finding(kind, "error", domain, raw.where, detail))


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
    texts = tuple(message.content or message.tool_calls for message in value.messages)
    return Record(domain, part, where, value.key, texts, value)
