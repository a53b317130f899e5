"""`crma-train check DIR`: look a dataset over before training on it."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from crma_adapters.cli.command import run_command
from crma_adapters.errors import ConfigError, CrmaError
from crma_training.config import TrainConfig
from crma_training.data.checks.lengths import TokenCounter, load_token_counter
from crma_training.data.checks.run import Report, run_checks
from crma_training.data.checks.table import grouped, table
from crma_training.data.rows import LEARN
from crma_training.flags import names

DESCRIPTION = """\
Looks a dataset over: repetition and leaks, broken, empty and over-long rows, encoding, balance, traces of
templates, secrets and personal data.
Exit status: 0 no errors, 1 errors (with --strict: warnings too), 2 bad usage.
"""


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    return run_command(lambda: _check(argv))


def _check(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    counter = _counter(options.model, options.max_length) if options.tokens else None
    report = run_checks(options.directory, options.domains, counter)
    if options.json is not None:
        _write(report, options.json)
    if report.findings:
        print(table(grouped(report.findings), options.directory))
    for text in _shown(options, report):
        print(text)
    print(_summary(report))
    return int(report.count("error") > 0 or (options.strict and bool(report.findings)))


def _counter(model: str, max_length: int) -> TokenCounter:
    checked = TrainConfig(model=model, max_length=max_length)
    try:
        return load_token_counter(checked.model, checked.max_length)
    except CrmaError as error:
        raise type(error)(f"{error}, or give --no-tokens to leave token counts out") from error


def _shown(options: argparse.Namespace, report: Report) -> Iterator[str]:
    """The examples that `--show` asks for; none without a model."""
    if options.show <= 0 or not options.tokens:
        return
    from crma_training.data.checks.shown import shown_rows  # loads torch and transformers

    config = TrainConfig(model=options.model, learn=options.learn)
    yield from shown_rows(
        options.directory,
        options.domains,
        config,
        options.show,
        colour=sys.stdout.isatty(),
        leave_out={finding.where for finding in report.findings},
    )


def _write(report: Report, path: Path) -> None:
    try:
        path.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--json {path}: cannot be written ({error.strerror}); give another file"
        ) from error


def _summary(report: Report) -> str:
    errors, warnings = report.count("error"), report.count("warning")
    tokens = "" if report.tokens_checked else "; tokens were not counted"
    return f"{report.rows} rows in {report.directory}: {errors} errors, {warnings} warnings{tokens}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crma-train check",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    defaults = TrainConfig()
    parser.add_argument("directory", metavar="DIR", type=Path, help="dataset folder")
    parser.add_argument("--domains", type=names, help="comma-separated (default: all)")
    parser.add_argument(
        "--model", default=defaults.model, help="base model whose tokens count (default: %(default)s)"
    )
    parser.add_argument(
        "--max-length", type=int, default=defaults.max_length, help="tokens per row (default: %(default)s)"
    )
    parser.add_argument(
        "--no-tokens", dest="tokens", action="store_false", help="count no tokens; no model is needed"
    )
    parser.add_argument(
        "--show",
        type=int,
        default=3,
        metavar="N",
        help="rows shown as learnt (default: %(default)s)",
    )
    parser.add_argument(
        "--learn", choices=LEARN, default=defaults.learn, help="turns that are learnt (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every finding to a file")
    parser.add_argument("--strict", action="store_true", help="let warnings fail too")
    return parser
