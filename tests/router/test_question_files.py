"""Files of questions that users bring."""

from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_router.cli.question_files import Labelled, read_labelled, read_questions


def test_rows_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "one"}\n\n{"text": "two"}\n{"prompt": "three"}\n"four"\n')
    (tmp_path / "b.txt").write_text("five\n\nsix\n")
    (tmp_path / "c.md").write_text("seven\n")
    assert read_questions(tmp_path) == ["one", "two", "three", "four", "five", "six"]
    assert read_questions(tmp_path / "b.txt") == ["five", "six"]


def test_labelled_rows(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"text": "a", "domain": "medical"}\n{"text": "b", "domain": null}\n')
    assert read_labelled(path) == [Labelled("a", "medical"), Labelled("b", None)]


@pytest.mark.parametrize(
    "line", ["{", "7", "{}", '{"question": 7}', '{"text": "a"}', '{"text": "a", "domain": 3}', "[" * 100_000]
)
def test_a_row_that_is_none_is_refused_by_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"text": "a", "domain": "b"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"q.jsonl:2"):
        read_labelled(path)


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a \.jsonl, \.csv or \.txt file"):
        read_questions(tmp_path)
    with pytest.raises(DataError, match=r"expected a \.jsonl, \.csv or \.txt file"):
        read_questions(tmp_path / "nowhere.jsonl")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        read_questions(tmp_path)


def test_a_byte_order_mark_and_a_line_separator_in_a_string_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"question": "one\u2028two"}\r\n{"text": "three"}\n', encoding="utf-8")
    assert read_questions(path) == ["one\u2028two", "three"]


def test_of_messages_the_last_user_turn_is_the_question(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."},'
        ' {"role": "user", "content": "what is bail?"}]}\n'
    )
    assert read_questions(path) == ["what is bail?"]
    path.write_text('{"messages": 3}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:1: messages is int"):
        read_questions(path)


def test_csv_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('\ufeffdomain,question\nlegal,"What is bail,\nand who pays?"\n,hello\n', encoding="utf-8")
    assert read_labelled(path) == [Labelled("What is bail,\nand who pays?", "legal"), Labelled("hello", None)]
    path.write_text("What is bail?\nWho pays?\n")
    assert read_questions(path) == ["What is bail?", "Who pays?"]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="columns a, b"):
        read_questions(path)
