"""Reading past everything that cannot be read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_training.data.checks.record import read_folder

WriteRows = Callable[..., Path]


def test_every_file_of_a_domain_is_read_and_the_questions_of_none(
    data_folder: Path, write_rows: WriteRows
) -> None:
    write_rows("legal/short_answer.jsonl", [{"question": "Who judges?", "answer": "A judge"}])
    write_rows("legal/router_train.jsonl", [{"question": "May I sue?"}])
    write_rows("legal/router_eval.jsonl", [{"question": "May I appeal?"}])
    write_rows("out_of_domain/router_train.jsonl", [{"question": "Who won?"}])
    reading = read_folder(data_folder)
    assert reading.findings == []
    found = {(record.domain, record.part) for record in reading.records}
    assert found >= {("legal", "train"), ("legal", "holdout"), ("out_of_domain", "router_train")}
    assert [r.answer for r in reading.records if r.part == "short_answer"] == ["A judge"]
    assert [r.answer for r in reading.records if r.part == "router_eval"] == [""]
    named = read_folder(data_folder, ["code"]).records
    assert {record.domain for record in named} == {"code", "out_of_domain"}


def test_the_short_form_is_split_as_training_splits_it(tmp_path: Path, write_rows: WriteRows) -> None:
    write_rows("zoology.jsonl", [{"question": f"question {n}", "answer": "a"} for n in range(30)])
    parts = [record.part for record in read_folder(tmp_path / "data").records]
    assert (parts.count("train"), parts.count("holdout")) == (27, 3)


def test_every_broken_line_is_a_finding_with_its_place(data_folder: Path) -> None:
    path = data_folder / "code" / "train.jsonl"
    good = path.read_bytes()
    broken = [
        b'{"question": "q", "answer": "caf\xe9"}',
        b'{"question": "q"',
        b"[1]",
        b'{"question": "q"}',
        b'{"question": "  ", "answer": "a"}',
        b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]}',
        b'{"question": "q \\ud800", "answer": "a"}',
        b"[" * 100_000,
    ]
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\n".join(broken))
    reading = read_folder(data_folder)
    assert [(f.kind, f.severity, f.where) for f in reading.findings] == [
        ("encoding", "warning", f"{path}:1"),
        ("encoding", "error", f"{path}:21"),
        ("broken-row", "error", f"{path}:22"),
        ("broken-row", "error", f"{path}:23"),
        ("broken-row", "error", f"{path}:24"),
        ("empty", "error", f"{path}:25"),
        ("empty", "error", f"{path}:26"),
        ("broken-row", "error", f"{path}:27"),
        ("broken-row", "error", f"{path}:28"),
    ]
    details = [finding.detail for finding in reading.findings]
    assert details[1].startswith("not UTF-8, byte 0xe9 at position")
    assert not any(str(path) in detail for detail in details)
    assert len([r for r in reading.records if (r.domain, r.part) == ("code", "train")]) == 20


def test_a_domain_without_usable_rows_is_an_error(data_folder: Path, write_rows: WriteRows) -> None:
    (data_folder / "code" / "holdout.jsonl").unlink()
    write_rows("legal/train.jsonl", [])
    write_rows("single.jsonl", [{"question": "only one", "answer": "a"}])
    found = {(f.kind, f.severity, f.domain) for f in read_folder(data_folder).findings}
    assert found == {("empty", "error", name) for name in ("code", "legal", "single")}


def test_a_name_no_domain_may_bear_is_an_error(data_folder: Path, write_rows: WriteRows) -> None:
    write_rows("auto.jsonl", [{"question": f"q{n}", "answer": "a"} for n in range(9)])
    (finding,) = read_folder(data_folder).findings
    assert (finding.kind, finding.severity, finding.domain) == ("domain-name", "error", "auto")


def test_what_is_no_dataset_is_refused(tmp_path: Path, data_folder: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_folder(tmp_path / "nothing")
    with pytest.raises(DataError, match="unknown domain cooking; it has code"):
        read_folder(data_folder, ["code", "cooking"])


def test_a_conversation_is_one_record(tmp_path: Path, write_rows: WriteRows) -> None:
    turns = [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Why?"),
        ("assistant", "So."),
    ]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    write_rows("talk/train.jsonl", [row])
    write_rows("talk/holdout.jsonl", [json.loads(json.dumps(row).replace("Why", "How"))])
    first, second = read_folder(tmp_path / "data").records
    assert first.texts == tuple(content for _, content in turns)
    assert (first.answer, first.key, second.key) == ("So.", "hi\nhello\nwhy?", "hi\nhello\nhow?")
