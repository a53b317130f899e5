"""All checks over one dataset folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.errors import DataError
from crma_training.data.checks.balance import check_balance
from crma_training.data.checks.characters import check_characters
from crma_training.data.checks.finding import Finding
from crma_training.data.checks.lengths import TokenCounter, check_lengths
from crma_training.data.checks.markers import check_markers
from crma_training.data.checks.personal import check_personal
from crma_training.data.checks.record import read_folder
from crma_training.data.checks.repeats import check_repeats
from crma_training.data.checks.secrets import check_secrets
from crma_training.data.checks.table import Group, grouped

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """What was found in one folder. `rows` counts the readable ones."""

    directory: Path
    rows: int
    tokens_checked: bool
    findings: tuple[Finding, ...]

    def count(self, severity: str) -> int:
        """Findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "format": FORMAT,
            "directory": str(self.directory),
            "rows": self.rows,
            "tokens_checked": self.tokens_checked,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "findings": [finding.to_json() for finding in self.findings],
        }


def run_checks(
    directory: Path,
    names: Sequence[str] | None = None,
    counter: TokenCounter | None = None,
    columns: Mapping[str, str] | None = None,
) -> Report:
    """Every check on the named domains (None: all); token counts only with a counter.

    Raises:
        DataError: no such folder, no domains in it, or an unknown domain.
    """
    reading = read_folder(directory, names, columns)
    found = list(reading.findings)
    for check in (
        check_repeats,
        check_characters,
        check_markers,
        check_secrets,
        check_personal,
        check_balance,
    ):
        found += check(reading.records)
    if counter is not None:
        found += check_lengths(reading.records, counter)
    return Report(directory, len(reading.records), counter is not None, tuple(found))


def check_before_training(
    directory: Path,
    names: Sequence[str],
    say: Callable[[str], None],
    *,
    refuse: bool = True,
    columns: Mapping[str, str] | None = None,
) -> None:
    """What training does first: a line per kind of finding and domain, and with `refuse` an end at a leak.

    Token counts are left out: training encodes every row itself before its first step.

    Raises:
        DataError: a holdout question of a domain is also trained on, in the same or nearly the same words.
    """
    report = run_checks(directory, names, columns=columns)
    leaks = [finding for finding in report.findings if finding.refuses_training]
    if leaks and refuse:
        raise DataError(
            f"{leaks[0].where}: {leaks[0].detail}; remove one ({_more(len(leaks) - 1)}"
            f"`crma-train check {directory}` lists all; --checks warn trains nevertheless)"
        )
    groups = grouped(report.findings)
    for group in groups:
        say(f"data: {_line(group)}")
    if groups:
        say(f"data: see `crma-train check {directory}` for these {len(report.findings)} findings")


def _line(group: Group) -> str:
    return f"{group.severity}: {group.domain}: {group.kind}, {group.count} (first: {group.examples[0]})"


def _more(others: int) -> str:
    return f"{others} more such; " if others else ""
