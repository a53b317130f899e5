"""Where rows come from: JSONL, JSON, CSV, TSV and Parquet files, and data sets of the Hugging Face hub.

Every object comes with its place, and a broken one does not stop those behind it: whoever reads decides.
Parquet and the hub are read by `datasets`; the others by the standard library, which knows line numbers and
makes no number of a text that looks like one.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crma_adapters.errors import DataError
from crma_training.data.formats import question_of, row_of
from crma_training.data.rows import Row

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
BOM = b"\xef\xbb\xbf"
LISTS = ("data", "rows", "examples", "train")  # names of the list in a JSON file that is one object


@dataclass(frozen=True)
class Raw:
    """One object of a source, or what is wrong with it; `where` is `file:line`."""

    where: str
    fields: dict[str, Any] = field(default_factory=dict)
    error: DataError | None = None
    kind: Literal["encoding", "broken-row"] = "broken-row"


def read_rows(path: Path, columns: Mapping[str, str] | None = None) -> tuple[Row, ...]:
    """Training or holdout rows of one file.

    Raises:
        DataError: missing or empty file, not UTF-8, broken JSON, or a row that no format knows.
    """
    return rows_of(read_file(path), path, columns)


def rows_of(raws: Iterator[Raw], source: object, columns: Mapping[str, str] | None = None) -> tuple[Row, ...]:
    """The rows of a source. Raises `DataError` at the first that is none."""
    rows = []
    for raw in raws:
        if raw.error is not None:
            raise raw.error
        rows.append(row_of(raw.fields, raw.where, columns))
    if not rows:
        raise DataError(f"{source}: no rows; give at least one {{'question', 'answer'}} object per line")
    return tuple(rows)


def read_questions(path: Path) -> tuple[str, ...]:
    """Questions of a file whose rows need no answer (the router's data)."""
    found = []
    for raw in read_file(path):
        if raw.error is not None:
            raise raw.error
        found.append(question_of(raw.fields, raw.where))
    return tuple(found)


def read_file(path: Path) -> Iterator[Raw]:
    """The objects of a file, by its suffix. Raises `DataError` if it cannot be read at all."""
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a JSONL file") from error
    if path.suffix in (".csv", ".tsv"):
        yield from _table(path, content)
    elif path.suffix == ".json":
        yield from _document(path, content)
    else:
        yield from _lines(path, content)


def read_hub(name: str, config: str | None, split: str) -> Iterator[Raw]:
    """The rows of a data set of the hub, or of a local folder that `datasets` knows.

    Raises:
        DataError: there is no such data set, configuration or split, or no hub.
    """
    from datasets import load_dataset

    try:
        rows = load_dataset(name, config, split=split)
    except Exception as error:  # the hub client raises a dozen kinds
        raise DataError(
            f"data set {name!r}, split {split!r}: not to be had ({type(error).__name__}: {error}); check the "
            "name, its configuration and split, or give files"
        ) from error
    for number, row in enumerate(rows, start=1):
        yield Raw(f"{name}[{split}]:{number}", _without_empty(row))


def _lines(path: Path, content: bytes) -> Iterator[Raw]:
    offset = 0
    for number, line in enumerate(content.split(b"\n"), start=1):  # splitlines splits at U+2028 too
        where, kind = f"{path}:{number}", "encoding"
        try:
            text = decode_line(line, where, offset)
            kind = "broken-row"
            if text.strip():
                yield Raw(where, parse_object(text, where))
        except DataError as error:
            yield Raw(where, error=error, kind="encoding" if kind == "encoding" else "broken-row")
        offset += len(line) + 1


def _document(path: Path, content: bytes) -> Iterator[Raw]:
    """A list of objects, an object that holds one, or lines in a file that is named `.json`."""
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        yield from _lines(path, content)
        return
    if isinstance(value, dict):
        value = next((value[name] for name in LISTS if isinstance(value.get(name), list)), [value])
    for number, item in enumerate(value if isinstance(value, list) else [value]):
        where = f"{path}[{number}]"
        if isinstance(item, dict):
            yield Raw(where, item)
        else:
            yield Raw(where, error=DataError(f"{where}: {type(item).__name__} instead of an object"))


def _table(path: Path, content: bytes) -> Iterator[Raw]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = DataError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8")
        yield Raw(f"{path}:1", error=fault, kind="encoding")
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",")
    names = reader.fieldnames or ()
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if None in row or None in row.values():  # how csv marks cells beyond the header, and missing ones
            problem = f"{where}: more or fewer cells than the header's {len(names)}; quote texts with commas"
            yield Raw(where, error=DataError(problem))
        else:
            yield Raw(where, _without_empty({name: _cell(name, value) for name, value in row.items()}))


def _cell(name: str, value: str) -> Any:
    """A cell that holds a list of messages or tools as JSON; any other text as it stands."""
    if name in ("messages", "conversations", "tools") and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _parquet(path: Path) -> Iterator[Raw]:
    if not path.is_file():
        raise DataError(f"{path}: cannot be read (no such file); give a Parquet file")
    from datasets import Dataset

    try:
        rows = Dataset.from_parquet(str(path), keep_in_memory=True)
    except Exception as error:  # pyarrow's and datasets' own kinds
        raise DataError(f"{path}: not a Parquet file that can be read ({error})") from error
    for number, row in enumerate(rows, start=1):
        yield Raw(f"{path}:{number}", _without_empty(row))


def _without_empty(value: Any) -> Any:
    """Arrow and CSV give every field to every row, empty where it was not set: left out, messages' too."""
    if isinstance(value, dict):
        return {name: _without_empty(item) for name, item in value.items() if item is not None and item != ""}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value


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
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: broken JSON ({error}); one object per line") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: {type(value).__name__} instead of an object; one {{...}} per line")
    return value
