"""The report on scripted conversations."""

import dataclasses
from collections.abc import Mapping, Sequence

from crma_eval.report import Report, Section
from crma_eval.routing.conversations.figures import Figures
from crma_eval.routing.conversations.replay import Replay

_HEADER = (
    "client sends",
    "right",
    "flips",
    "false switches on follow-ups",
    "changes followed at once",
    "within 1 turn",
)


def conversations_report(
    measured: Mapping[str, Figures], replays: Sequence[Replay], domains: Sequence[str]
) -> Report:
    """`measured` by kind of client; `replays` are those of the first kind, shown turn by turn."""
    return Report(
        name="conversations",
        title="Scripted conversations of ten turns",
        header=_HEADER,
        rows=tuple(_row(name, figures) for name, figures in measured.items()),
        figures={
            "domains": list(domains),
            "clients": {name: dataclasses.asdict(one) | {"late": one.late} for name, one in measured.items()},
        },
        remarks=_words(next(iter(measured.values())), len(replays)),
        sections=(_wrong(replays),),
    )


def _row(name: str, one: Figures) -> tuple[str, ...]:
    return (
        name,
        f"{one.right} of {one.turns}",
        f"{one.flips} of {one.steady}",
        f"{len(one.false_switches)} of {one.follow_ups}",
        f"{sum(delay == 0 for delay in one.delays)} of {one.changes}",
        f"{one.changes - one.late} of {one.changes}",
    )


def _words(one: Figures, scripts: int) -> tuple[str, ...]:
    return (
        f"{scripts} scripts in the project's own words; {one.follow_ups} of their turns lean on those before "
        '("go on", "and the dosage?"). A flip is a turn answered by another domain than the one before it '
        "though the topic did not change; a false switch is a flip on a follow-up. A change counts as "
        "followed if the new topic's own domain (or the fallback, for small talk) answers.",
        "The words that mark a follow-up and the margins were set on six other scripts and then mended where "
        "these showed a mistake of the rules: the rules have seen this text. What is wrong below is mostly "
        "what the router says of a topic's first turn, and the follow-ups that stay with it.",
    )


def _wrong(replays: Sequence[Replay]) -> Section:
    rows = tuple(
        (one.script.name, turn.user.split("\n")[0], turn.domain or "none", domain or "none", path)
        for one in replays
        for turn, domain, path in zip(one.script.turns, one.domains, one.paths, strict=True)
        if turn.domain != domain
    )
    header = ("script", "turn", "belongs to", "answered by", "path")
    if not rows:
        return Section("Turns answered by another domain", remarks=("None.",))
    return Section("Turns answered by another domain", header, rows)
