"""Grouping and layout of findings."""

from pathlib import Path

from crma_training.data.checks.finding import Finding
from crma_training.data.checks.table import grouped, table


def test_findings_are_grouped_by_kind_domain_and_severity_errors_first() -> None:
    findings = [
        Finding("duplicate", "warning", "code", f"d/code/train.jsonl:{n}", f"like {n}") for n in range(5)
    ]
    findings.append(Finding("duplicate", "warning", "law", "d/law/train.jsonl:9", "like 8"))
    findings.append(
        Finding("leak", "error", "code", "d/code/holdout.jsonl:1", "also in d/code/train.jsonl:3")
    )
    groups = grouped(findings)
    assert [(g.severity, g.kind, g.domain, g.count) for g in groups] == [
        ("error", "leak", "code", 1),
        ("warning", "duplicate", "code", 5),
        ("warning", "duplicate", "law", 1),
    ]
    assert table(groups, Path("d")) == (
        "severity  kind       domain  count  first examples\n"
        "error     leak       code    1      code/holdout.jsonl:1\n"
        "    also in code/train.jsonl:3\n"
        "warning   duplicate  code    5      code/train.jsonl:0, code/train.jsonl:1, code/train.jsonl:2\n"
        "    like 0\n"
        "warning   duplicate  law     1      law/train.jsonl:9\n"
        "    like 8"
    )
