"""Half characters in JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_server.http.body_text import DEEPEST, has_broken_text, is_too_deep


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a": "\ud800"}',
        rb'{"a": "x\uDFFFy"}',
        rb'{"\ud800": 1}',
        rb'["\ude00\ud83d"]',
        rb'["\ud83d\ud83d\ude00"]',
        rb'["\ud83d \ude00"]',
    ],
)
def test_half_a_pair_is_found(body: bytes) -> None:
    assert has_broken_text(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        rb'["\ud83d\ude00"]',
        rb'["\uD83D\uDE00\uD83D\uDE00"]',
        rb'["\\ud800 is written like this"]',
        rb'["\u00e9 \ud7ff \ue000"]',
        rb"not json \ud800",
        b"[" * 9000 + rb'"\ud800"',
        b"\xff\xfe\\ud800",
    ],
)
def test_what_is_whole_or_no_json_passes(body: bytes) -> None:
    assert not has_broken_text(body)


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
)
def test_it_agrees_with_the_encoder(value: object) -> None:
    def writes() -> bool:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return False
        return True

    assert has_broken_text(json.dumps(value).encode("ascii")) is not writes()


@given(st.lists(st.characters(categories=["Cs", "So", "Lu"]), max_size=6))
def test_it_agrees_where_there_are_many_halves(characters: list[str]) -> None:
    value = "".join(characters)
    as_python_reads_it = json.loads(json.dumps(value))
    expected = any("\ud800" <= character <= "\udfff" for character in as_python_reads_it)
    assert has_broken_text(json.dumps(value).encode("ascii")) is expected


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * DEEPEST + b"]" * DEEPEST, False),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), True),
        (b"[" * 100_000, True),
        (b'{"a":' * (DEEPEST + 1), True),
        (json.dumps(["[{" * 1000]).encode(), False),
        (json.dumps(['\\"[[[' * 1000]).encode(), False),
        (json.dumps([[]] * 1000).encode(), False),
        (b'"' + b"[" * 1000, False),
    ],
)
def test_nesting(body: bytes, deep: bool) -> None:
    assert is_too_deep(body) is deep
