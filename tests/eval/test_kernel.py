import sys
from pathlib import Path
from typing import Any

import pytest

from crma_eval.cli import main
from crma_eval.serving.kernel import command

STEP: dict[str, Any] = {
    "case": {"phase": "decode", "rows": 8, "slots": 5, "rank": 64},
    "ms": {"idle": 0.08, "bound": 4.0, "crma": 10.0, "vllm": 75.0},
}
READING: list[dict[str, Any]] = [
    {"rank": 8, "ms": {"c": 6.04, "torch": 40.0}},
    {"rank": 64, "ms": {"torch": 148.0}},
]


def measured(steps: int = 1) -> dict[str, Any]:
    return {"steps": [STEP] * steps, "reading": READING}


def test_a_row_has_the_ratios() -> None:
    report = command.kernel_report(measured(), layers=30, repeats=5)
    assert report.rows == (("decode", "8", "5", "64", "0.08", "4.00", "10.00", "75.00", "2.5", "7.5"),)
    assert report.figures["steps"] == [STEP] and report.figures["reading"] == READING


def test_reading_a_slot_has_a_table_of_its_own() -> None:
    """Without a compiler there is no figure for C."""
    (section,) = command.kernel_report(measured(), layers=30, repeats=5).sections
    assert section.rows == (("8", "6.0", "40.0"), ("64", "-", "148.0"))


def test_the_command_writes_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_measured", lambda layers, _: measured(layers))
    assert main(["kernel", "--layers", "2", "--report", str(tmp_path)]) == 0
    assert (tmp_path / "kernel.md").read_text().count("| decode |") == 2


def test_a_failing_benchmark_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    assert main(["kernel"]) == 2
    assert "engine.vllm.cpu.benchmark ended with status 1" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--layers", "--repeats"])
def test_at_least_one(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel", flag, "0"]) == 2
    assert f"{flag} is 0" in capsys.readouterr().err
