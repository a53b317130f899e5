"""Findings as a table: one line per kind, domain and severity."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_training.data.checks.finding import Finding, Severity

EXAMPLES = 3
HEAD = ("severity", "kind", "domain", "count", "first examples")


@dataclass(frozen=True)
class Group:
    """Findings of one kind, severity and domain; `detail` is the first one's."""

    severity: Severity
    kind: str
    domain: str
    count: int
    examples: tuple[str, ...]
    detail: str


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """Errors first; otherwise in the order of the first finding of each group."""
    groups: dict[tuple[Severity, str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[(finding.severity, finding.kind, finding.domain)].append(finding)
    made = [
        Group(*key, len(own), tuple(finding.where for finding in own[:EXAMPLES]), own[0].detail)
        for key, own in groups.items()
    ]
    return sorted(made, key=lambda group: group.severity != "error")


def table(groups: Sequence[Group], directory: Path) -> str:
    """Aligned text with places relative to the folder; under each line what the first place is about."""
    rows = [HEAD]
    rows += [(g.severity, g.kind, g.domain, str(g.count), ", ".join(g.examples)) for g in groups]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD) - 1)]
    lines = ["  ".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in rows]
    details = ["", *("\n    " + group.detail for group in groups)]
    shown = "\n".join(line + detail for line, detail in zip(lines, details, strict=True))
    return shown.replace(f"{directory}/", "")
