"""`crma-eval routed` on the demo release with a handful of rows, and its refusals."""

import json
from pathlib import Path

import pytest

from crma_eval.cli import main

ADAPTERS = Path(__file__).parents[2] / "adapters"
DOMAINS = {
    "medical": [
        ("What is hypoglycemia?", "A deficiency of glucose in the blood."),
        ("What is a plaintiff in a court of law?", "Not a patient."),  # goes to legal
    ],
    "legal": [("What is a subpoena?", "A writ that orders someone to appear in court.")],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for domain, rows in DOMAINS.items():
        folder = tmp_path / "data" / domain
        folder.mkdir(parents=True)
        lines = [json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows]
        (folder / "holdout.jsonl").write_text("".join(lines))
        (folder / "train.jsonl").write_text(json.dumps({"question": "What is x?", "answer": "y"}) + "\n")
    short = {"question": "What is the medical term for night blindness?", "answer": "Nyctalopia"}
    (tmp_path / "data" / "medical" / "short_answer.jsonl").write_text(json.dumps(short) + "\n")
    return tmp_path / "data"


def _run(data: Path, tmp_path: Path) -> int:
    folders = ["--work", str(tmp_path / "work"), "--report", str(tmp_path / "out")]
    return main(["routed", "--data", str(data), "--adapters", str(ADAPTERS), *folders])


def test_a_detour_costs_and_measurements_are_kept(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(data, tmp_path) == 0
    figures = json.loads((tmp_path / "out" / "routed.json").read_text())["figures"]
    by_domain = {figure["domain"]: figure for figure in figures["domains"]}
    medical, legal = by_domain["medical"], by_domain["legal"]
    assert medical["rows"] == [2, 1] and medical["right"] == [1, 1]
    assert medical["regret"] != 0 and medical["oracle_accuracy"] == medical["routed_accuracy"]
    assert legal["right"] == [1, 0] and legal["regret"] == 0 and legal["oracle_accuracy"] is None
    assert by_domain["all"]["rows"] == [3, 1]
    assert figures["drift"] == []  # these are not the rows of the cards
    assert "2 of 2 domains are left out" in capsys.readouterr().out
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    assert _run(data, tmp_path) == 0
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    assert json.loads((tmp_path / "out" / "routed.json").read_text())["figures"] == figures


def test_bad_input_is_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routed", "--data", str(data), "--adapters", str(ADAPTERS), "--rows", "-1"]) == 2
    assert "--rows is -1" in capsys.readouterr().err
    (tmp_path / "cooking.jsonl").write_text(
        '{"question": "a?", "answer": "b"}\n{"question": "c?", "answer": "d"}\n'
    )
    (tmp_path / "only").mkdir()
    (tmp_path / "cooking.jsonl").rename(tmp_path / "only" / "cooking.jsonl")
    assert main(["routed", "--data", str(tmp_path / "only"), "--adapters", str(ADAPTERS)]) == 2
    assert "none of the release's domains" in capsys.readouterr().err
