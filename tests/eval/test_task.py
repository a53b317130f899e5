"""What every evaluation shares: printing, writing and the verdict, with a task that measures nothing."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from crma_eval.cli import TASKS, main
from crma_eval.report import Goal, Report
from crma_eval.task import Context, Result, add_task

REPORT = Report("trial", "A trial", ("a",), (("1",),), {"x": 1})
MET, MISSED = Goal("speed", "at least 2", "3", True), Goal("size", "at most 4", "5", False)


def _run(*goals: Goal, folder: Path | None = None) -> int:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=3)

    def run(context: Context) -> Result:
        assert (context.args.seed, context.report) == (3, folder)
        return Result(REPORT, goals)

    parser = argparse.ArgumentParser()
    add_task(parser.add_subparsers(), SimpleNamespace(add_arguments=add_arguments, run=run), "trial", "tries")
    args = parser.parse_args(["trial", *(["--report", str(folder)] if folder else [])])
    return int(args.run(args))


def test_one_missed_goal_is_enough_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert (_run(), _run(MET), _run(MET, MISSED)) == (0, 0, 1)
    said = capsys.readouterr()
    assert said.err == "missed: size: 5, is to be at most 4\n"
    assert "## Goals\n\n1 of 2 met.\n\n- missed: size: 5, is to be at most 4\n\n## How this" in said.out


def test_what_is_written_has_goals_seed_and_figures(tmp_path: Path) -> None:
    assert _run(MET, folder=tmp_path) == 0
    document = json.loads((tmp_path / "trial.json").read_text())
    assert document["goals"] == [{"what": "speed", "bound": "at least 2", "found": "3", "met": True}]
    assert document["figures"] == {"x": 1} and document["provenance"]["seeds"] == "3"


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_help_and_a_report(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "--report DIR" in capsys.readouterr().out
