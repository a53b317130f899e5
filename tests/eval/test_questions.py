import json
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_eval.questions import Question, draw_questions, read_questions


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


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_draws_evenly_from_every_domain_and_from_small_talk(tmp_path: Path) -> None:
    for domain in ("legal", "medical"):
        _write(tmp_path / domain / "holdout.jsonl", [{"question": f"{domain} {i}?"} for i in range(10)])
    talk = [{"question": "hi", "source": "crma"}] * 2
    _write(
        tmp_path / "out_of_domain" / "router_eval.jsonl", [*talk, {"question": "who won?", "source": "nq"}]
    )
    drawn = draw_questions(tmp_path, 2)
    assert [(q.domain, q.text) for q in drawn] == [
        ("legal", "legal 0?"),
        ("legal", "legal 5?"),
        ("medical", "medical 0?"),
        ("medical", "medical 5?"),
        (None, "hi"),
        (None, "hi"),
    ]
    with pytest.raises(DataError, match="2 fitting rows, --per-domain wants 3"):
        draw_questions(tmp_path, 3)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crma-train demo-data"):
        draw_questions(tmp_path, 1)
