"""`crma-eval subdomains` on the tiny model: report, resuming, refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_eval.cli import main


@pytest.fixture
def field(tmp_path: Path, write_rows: Callable[..., Path]) -> Path:
    facts = [(f"e{n}", f"a{n}") for n in range(8)]
    short = [{"question": f"Tell me {e}.", "answer": a, "entry": e} for e, a in facts]
    train = [{"question": f"What is {e}?", "answer": a, "entry": e} for e, a in facts]
    write_rows("cooking/train.jsonl", train)
    write_rows("cooking/holdout.jsonl", [{"question": "And?", "answer": "No."}])
    write_rows("cooking/short_answer.jsonl", short)
    return tmp_path / "data"


def test_a_stopped_run_goes_on_and_reports_the_same(base_model: Path, field: Path, tmp_path: Path) -> None:
    sizes = ["--facts", "2", "--phrasings", "1", "--probes", "2", "--epochs", "2", "--batch-size", "2"]
    where = ["--data", str(field), "--work", str(tmp_path / "work"), "--report", str(tmp_path / "out")]
    arguments = ["subdomains", "--model", str(base_model), "--field", "cooking", *where, *sizes]
    first = main(arguments)
    report = tmp_path / "out" / "subdomains.json"
    figures = json.loads(report.read_text())["figures"]
    assert figures["sub_domains"] == ["part-1", "part-2", "part-3", "part-4"]
    assert [method["method"] for method in figures["methods"]] == ["modular", "naive"]
    assert [len(probe["exact"]) for probe in figures["methods"][0]["probes"]] == [4, 4, 3, 3, 2, 2]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.safetensors")}
    assert len(kept) == 4 * 3  # a LoRA and a CRMA each, and NAIVE's LoRA
    assert main(arguments) == first
    assert json.loads(report.read_text())["figures"] == figures
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.safetensors")}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--probes", "0"], "--probes is 0"),
        (["--probes", "9"], "only trained facts are probed"),
        (["--methods", "magic"], "unknown method magic"),
        (["--facts", "9"], "part-1 has 0 facts that 3 training rows"),
    ],
)
def test_bad_input_is_refused(
    field: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    where = ["--data", str(field), "--work", str(tmp_path / "work"), "--field", "cooking"]
    assert main(["subdomains", *where, *arguments]) == 2
    assert complaint in capsys.readouterr().err
