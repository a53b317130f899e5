import json
from pathlib import Path

import pytest

from crma_eval.cli import main

ADAPTERS = Path(__file__).parents[2] / "adapters"
HELD_OUT = {
    "What is bradycardia?": "Abnormally slow heart rate.",
    "What does hypothermia mean?": "Reduced body temperature.",
    "What is meant by polyuria?": "An increased rate of urine production.",
    "What is the medical word for fast heartbeat?": "Tachycardia",
}


def _write(path: Path, rows: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows.items()]
    path.write_text("".join(lines), encoding="utf-8")


def test_the_demo_adapter_helps_on_its_own_domain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "data" / "medical" / "train.jsonl", {"What is fever?": "Elevated body temperature."})
    _write(tmp_path / "data" / "medical" / "holdout.jsonl", HELD_OUT)
    arguments = ["--data", str(tmp_path / "data"), "--adapters", str(ADAPTERS)]
    assert main(["holdout", *arguments, "--report", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "holdout.json").read_text())["figures"]["domains"][0]
    assert figures["domain"] == "medical" and figures["rows"] == len(HELD_OUT)
    assert figures["adapter"] < 0.8 * figures["base"]
    assert figures["adapter"] != figures["adapter_without_crma"]
    assert "| medical" in capsys.readouterr().out


def test_other_domains_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "cooking.jsonl", {"How do I boil an egg?": "Eight minutes.", "And rice?": "Twelve."})
    assert main(["holdout", "--data", str(tmp_path), "--adapters", str(ADAPTERS)]) == 2
    assert "none of the release's domains" in capsys.readouterr().err
