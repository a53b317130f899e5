"""Strict JSON documents: bytes to a checked frozen dataclass and back.

Owns: what is accepted as JSON at all (UTF-8, no duplicate keys, no NaN, bounded size) and the check of types.
Knows nothing of any particular document.
"""

import json
import math
from collections.abc import Collection, Hashable
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from crma_adapters.errors import IncompatibleError, IntegrityError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 4 * 2**20

# For a dataclass's `__pydantic_config__`: our own documents, and others' that may say more than we read.
STRICT = ConfigDict(extra="forbid", strict=True)
LENIENT = ConfigDict(extra="ignore", strict=True)

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


def parse_json(data: bytes, where: str) -> Any:
    """Decode JSON, refusing what decoders disagree on. Raises `IntegrityError` naming `where`."""
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except RecursionError:
        raise IntegrityError(f"{where}: JSON nested too deeply; restore the file") from None
    except ValueError as error:
        raise IntegrityError(f"{where}: not JSON ({error}); expected a UTF-8 JSON document") from None


def parse_document(kind: type[T], data: bytes, where: str, *, format_number: int | None = None) -> T:
    """Decode and check a document against the dataclass `kind`, and its `format` key if it must have one.

    Raises `IntegrityError` naming `where`, or `IncompatibleError` for a format this version does not know.
    """
    value = parse_json(data, where)
    if format_number is not None:
        value = _without_format(value, format_number, where)
    try:
        document: T = _adapter(cast(Hashable, kind)).validate_json(json.dumps(value))
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        at = ".".join(str(step) for step in first["loc"]) or "document"
        more = f" (and {len(others)} more)" if others else ""
        given = repr(first["input"])[:80]
        raise IntegrityError(
            f"{where}: {at}: {first['msg']}, given {given}{more}; restore the file"
        ) from None
    return document


def parse_format(data: bytes, where: str, known: tuple[int, ...]) -> int:
    """The document's `format`, one of `known`. Raises as `parse_document`."""
    value = parse_json(data, where)
    given = value.get("format") if isinstance(value, dict) else None
    expected = given if isinstance(given, int) and given in known else known[-1]
    _without_format(value, expected, where)
    return expected


def render_document(document: "DataclassInstance", *, omit: Collection[str] = (), **extra: object) -> bytes:
    """The one byte form of a document: sorted keys, indented, newline at the end; without the keys in
    `omit`."""
    value = {key: item for key, item in (asdict(document) | extra).items() if key not in omit}
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    """Making one takes longer than any use of it: 10 ms."""
    return TypeAdapter(cast(Any, kind))


def _without_format(value: object, expected: int, where: str) -> dict[str, object]:
    if not isinstance(value, dict) or "format" not in value:
        raise IntegrityError(
            f"{where}: no `format` key; expected a document of format {expected}; restore the file"
        )
    if value["format"] != expected:
        raise IncompatibleError(
            f"{where}: format {value['format']!r}, expected {expected}; upgrade crma, or publish it again"
        )
    return {key: item for key, item in value.items() if key != "format"}


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return document


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number
