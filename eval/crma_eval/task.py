"""What an evaluation is: options, a run, a result; and the one way to print, write and judge it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from crma_eval.report import Goal, Report, provenance


@dataclass(frozen=True)
class Context:
    """What a run is given. `args`: its options as parsed. `report`: the folder to write to."""

    args: argparse.Namespace
    report: Path | None = None


@dataclass(frozen=True)
class Result:
    """What a run found: tables, plots and figures (`report`), and the goals that decide its exit status."""

    report: Report
    goals: tuple[Goal, ...] = ()

    @property
    def met(self) -> bool:
        """The one verdict rule: every goal is met. Without goals it is a measurement."""
        return all(goal.met for goal in self.goals)


class Task(Protocol):
    """One evaluation, as a module: these two functions."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add its own options; `--report` is there already."""

    def run(self, context: Context) -> Result:
        """Measure. Raises `CrmaError` where that is refused."""


def add_task(commands: Any, task: Task, name: str, summary: str, aliases: Sequence[str] = ()) -> None:
    """Add `task` to the subcommands of `crma-eval`; `summary` is its line of help, its docstring the page."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=getattr(task, "DESCRIPTION", summary),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        aliases=list(aliases),
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="folder to write the report into: JSON, Markdown, plots"
    )
    task.add_arguments(parser)
    parser.set_defaults(run=lambda args: run_task(task, Context(args, args.report)))


def run_task(task: Task, context: Context) -> int:
    """Run, print, write; 0 where every goal is met, 1 where one is missed."""
    result = task.run(context)
    report = replace(result.report, goals=result.goals, facts=provenance(vars(context.args)))
    print(report.markdown())
    if context.report is not None:
        report.write(context.report)
    for goal in result.goals:
        if not goal.met:
            print(f"missed: {goal.what}: {goal.found}, is to be {goal.bound}", file=sys.stderr)
    return 0 if result.met else 1
