"""Dataset lines: both forms, and what is wrong with a bad one."""

import json
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_training.data.rows import Message
from crma_training.data.sources import read_questions, read_rows


def write(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_both_forms_read_the_same(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "What is 4?"}, {"role": "assistant", "content": "Even."}]
    path = write(
        tmp_path,
        json.dumps({"question": "What is 4?", "answer": "Even.", "source": "s", "licence": "MIT"})
        + "\n\n"
        + json.dumps({"messages": messages, "source": "s", "licence": "MIT"}),
    )
    first, second = read_rows(path)
    assert first.messages == second.messages == (Message("user", "What is 4?"), Message("assistant", "Even."))
    assert (first.source, first.licence, first.question) == ("s", "MIT", "What is 4?")
    assert (first.where, second.where) == (f"{path}:1", f"{path}:3")


def test_the_answer_is_the_last_message_and_the_question_the_last_user_turn(tmp_path: Path) -> None:
    turns = [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Why?"),
        ("assistant", "So."),
    ]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    (read,) = read_rows(write(tmp_path, json.dumps(row)))
    assert read.question == "Why?"
    assert [message.content for message in read.prompt] == ["Be brief.", "Hi", "Hello", "Why?"]


def test_keys_ignore_case_spacing_and_system_prompt(tmp_path: Path) -> None:
    messages = [("system", "x"), ("user", "what  IS it?\n"), ("assistant", "b")]
    rows = [
        {"question": "What is it?", "answer": "a"},
        {"messages": [{"role": role, "content": content} for role, content in messages]},
    ]
    first, second = read_rows(write(tmp_path, "\n".join(map(json.dumps, rows))))
    assert first.key == second.key


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, b"\xef\xbb\xbf" + b'{"question": "q", "answer": "a"}'))
    assert row.question == "q"


GOOD = b'{"question": "q", "answer": "a"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"rows\.jsonl: no rows"),
        (b"\n  \n", r"rows\.jsonl: no rows"),
        (GOOD + b'{"question": "q"}', r"rows\.jsonl:2: no answer; 'answer' must be a non-empty string"),
        (GOOD + b'{"question": "q", "answer": "  "}', r"rows\.jsonl:2: no answer"),
        (b'{"question": 3, "answer": "a"}', r"rows\.jsonl:1: no question"),
        (GOOD + GOOD + b'{"question": "caf\xe9"', r"rows\.jsonl:3: not UTF-8, byte 0xe9 at position 83"),
        (GOOD + b'{"question": "q",', r"rows\.jsonl:2: broken JSON .* column 18"),
        (b"[1]", r"rows\.jsonl:1: list instead of an object"),
        (b'{"messages": "hi"}', r"rows\.jsonl:1: 'messages' must be a list"),
        (b'{"messages": []}', r"rows\.jsonl:1: no answer; the last of 'messages'"),
        (b'{"messages": [{"role": "user", "content": "q"}]}', r":1: no answer; the last of 'messages'"),
        (b'{"messages": [{"role": "assistant", "content": "a"}]}', r":1: messages\[0\]: no question"),
        (
            b'{"messages": [{"role": "tool", "content": "a"}]}',
            r":1: messages\[0\]: a tool's result after nothing",
        ),
        (b'{"messages": [{"role": "user"}, {"role": "assistant", "content": "a"}]}', r":1: no content"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: cannot be read \(No such file or directory\)"):
        read_rows(tmp_path / "nowhere.jsonl")


def test_questions_need_no_answer(tmp_path: Path) -> None:
    assert read_questions(write(tmp_path, '{"question": "a"}\n{"question": "b", "entry": "7"}')) == ("a", "b")
