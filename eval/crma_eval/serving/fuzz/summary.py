"""The report of `crma-eval fuzz`."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crma_eval.report import Report, Section
from crma_eval.serving.fuzz.doors import Door
from crma_eval.serving.fuzz.sending import Finding, Outcome

GOAL_REQUESTS = 10_000


@dataclass(frozen=True)
class Setting:
    """What was asked: the seed, and the routes that were left out."""

    seed: int
    left_out: tuple[str, ...]


def reached(outcome: Outcome, doors: Sequence[Door]) -> bool:
    """Whether nothing failed, nothing was open, and enough was sent to say so."""
    return outcome.sent >= GOAL_REQUESTS and not outcome.failed and not any(door.is_open for door in doors)


def fuzz_report(setting: Setting, outcome: Outcome, doors: Sequence[Door]) -> Report:
    """A row for each route; what failed, with the request; what each door answered."""
    return Report(
        name="fuzz",
        title="Hostile requests to every route",
        header=("route", "requests", "2xx", "4xx", "5xx said on purpose", "failed"),
        rows=tuple(_row(name, counts, outcome) for name, counts in sorted(outcome.statuses.items())),
        figures=_figures(setting, outcome, doors),
        remarks=_remarks(setting, outcome, doors),
        sections=(_failure_section(outcome.findings), _door_section(doors)),
    )


def _row(name: str, counts: Mapping[int | None, int], outcome: Outcome) -> tuple[str, ...]:
    failed = outcome.failed_by.get(name, 0)
    classes = Counter[str]()
    for status, count in counts.items():
        classes["none" if status is None else f"{status // 100}xx"] += count
    on_purpose = classes["5xx"] + classes["none"] - failed
    return (
        name,
        str(sum(counts.values())),
        str(classes["2xx"]),
        str(classes["4xx"]),
        str(on_purpose),
        str(failed),
    )


def _remarks(setting: Setting, outcome: Outcome, doors: Sequence[Door]) -> tuple[str, ...]:
    opened = sum(door.is_open for door in doors)
    verdict = "met" if reached(outcome, doors) else "missed"
    left_out = f" Left out: {', '.join(setting.left_out)}." if setting.left_out else ""
    return (
        f"{outcome.sent} requests, seed {setting.seed}, each with the key of its route: made from the "
        f"schemas of /openapi.json, most of them valid but for a value, some broken.{left_out}",
        "Failed: a reply of 500 or above that is not an error document of 501, 503 or 504, or none at all.",
        f"Goal: at least {GOAL_REQUESTS} requests, none failed, no route open without its key: {verdict} "
        f"({outcome.failed} failed, {opened} of {len(doors)} routes open).",
    )


def _failure_section(findings: Sequence[Finding]) -> Section:
    rows = tuple(
        (
            f"{finding.case.operation.method} {finding.case.url}"[:120],
            str(finding.status or "none"),
            _shown(finding.case.content),
            _cell(finding.reply[:200]),
        )
        for finding in findings
    )
    remark = () if rows else ("None.",)
    return Section("What failed", ("request", "status", "body", "reply") if rows else (), rows, remark)


def _door_section(doors: Sequence[Door]) -> Section:
    tries = sorted({name for door in doors for name in door.statuses})
    rows = tuple(
        (
            door.operation.name,
            door.kind,
            *(str(door.statuses.get(name, "")) for name in tries),
            "OPEN" if door.is_open else "",
        )
        for door in doors
    )
    return Section(
        "Without the right key",
        ("route", "needs", *(f"{name} key" for name in tries), ""),
        rows,
        ("Anything but 401 from a route that is not public counts as open.",),
    )


def _figures(setting: Setting, outcome: Outcome, doors: Sequence[Door]) -> dict[str, Any]:
    return {
        "setting": dataclasses.asdict(setting),
        "goal_requests": GOAL_REQUESTS,
        "reached": reached(outcome, doors),
        "sent": outcome.sent,
        "failed": outcome.failed,
        "statuses": {
            name: {str(status): count for status, count in counts.items()}
            for name, counts in sorted(outcome.statuses.items())
        },
        "findings": [
            {
                "request": f"{finding.case.operation.method} {finding.case.url}",
                "status": finding.status,
                "headers": dict(finding.case.headers),
                "body": None
                if finding.case.content is None
                else finding.case.content.decode("utf-8", "replace"),
                "reply": finding.reply,
            }
            for finding in outcome.findings
        ],
        "doors": [
            {"route": door.operation.name, "needs": door.kind, "statuses": dict(door.statuses)}
            for door in doors
        ],
    }


def _shown(content: bytes | None) -> str:
    return "" if content is None else _cell(content[:120].decode("utf-8", "replace"))


def _cell(text: str) -> str:
    """Text that does not break out of a table."""
    return "`" + text.replace("|", "\\|").replace("`", "'").replace("\n", " ").replace("\r", " ") + "`"
