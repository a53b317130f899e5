"""JSON is read one way only, and whatever is wrong with it is our own error."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict

from crma_adapters.errors import IncompatibleError, IntegrityError
from crma_adapters.io.document import STRICT, Count, Finite, parse_document, parse_json, render_document


@dataclass(frozen=True)
class Point:
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    x: Finite
    count: Count
    label: str = ""


@given(
    st.builds(
        Point,
        x=st.floats(allow_nan=False, allow_infinity=False),
        count=st.integers(0, 2**53),
        label=st.text(),
    )
)
def test_what_is_written_is_read(point: Point) -> None:
    try:
        data = render_document(point, format=1)
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    assert parse_document(Point, data, "point", format_number=1) == point


def test_bytes_do_not_depend_on_the_order_of_fields() -> None:
    assert render_document(Point(1.5, 2, "é"), format=1) == (
        '{\n  "count": 2,\n  "format": 1,\n  "label": "é",\n  "x": 1.5\n}\n'.encode()
    )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"x": 1, "x": 2, "count": 0}', "'x' stands twice"),
        (b'{"x": NaN, "count": 0}', "NaN is no JSON number"),
        (b'{"x": 1e999, "count": 0}', "1e999 is out of range"),
        (b'\xff{"x": 1}', "not JSON"),
        ("{}".encode("utf-16"), "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "document: "),
        (b'{"x": 1, "count": 0, "extra": 1}', "extra"),
        (b'{"x": 1, "count": true}', "count"),
        (b'{"x": "1", "count": 0}', "x: Input should be a valid number, given '1'"),
        (b'{"x": 1}', "count: Field required"),
        (b'{"x": 1, "count": -1}', "count"),
    ],
)
def test_anything_else_is_refused_and_told(data: bytes, told: str) -> None:
    with pytest.raises(IntegrityError, match=f"^where: .*{told}") as caught:
        parse_document(Point, data, "where")
    assert "\n" not in str(caught.value)


def test_an_unknown_format_says_upgrade() -> None:
    with pytest.raises(IncompatibleError, match="where: format 2, expected 1; upgrade crma"):
        parse_document(Point, b'{"format": 2, "anything": []}', "where", format_number=1)
    with pytest.raises(IntegrityError, match="no `format` key"):
        parse_document(Point, b'{"x": 1, "count": 0}', "where", format_number=1)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    try:
        parse_json(data, "where")
        parse_document(Point, data, "where")
    except IntegrityError as error:
        assert str(error).startswith("where: ")
