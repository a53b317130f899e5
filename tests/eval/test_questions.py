from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_eval.questions import Question, read_questions


def test_reads_domains_and_small_talk(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"domain": "medical", "question": "What is asthma?"}\n\n{"domain": null, "question": "hi"}\n'
    )
    assert read_questions(path) == [Question("What is asthma?", "medical"), Question("hi", None)]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"not json\n", r"q\.jsonl:1: expected"),
        (b'{"question": "x"}\n', r"q\.jsonl:1: expected"),
        (b'{"domain": 3, "question": "x"}\n', "domain a string or null"),
        (b'{"domain": null, "question": " "}\n', "non-empty"),
        (b"\xff\n", "UTF-8"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        read_questions(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.jsonl"):
        read_questions(tmp_path / "nothing.jsonl")
