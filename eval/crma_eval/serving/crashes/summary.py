"""What a run of kills came to, in figures and words.

Owns: the goals, the table and the sentences.
"""

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from crma_eval.report import Report, Section
from crma_eval.serving.crashes.judgement import MEANING, Fault, faults_of_answer, faults_of_served
from crma_eval.serving.crashes.life import Life
from crma_eval.serving.crashes.moments import MEANING as PHASES
from crma_eval.serving.crashes.session import DOMAINS, Plan, Record


@dataclass(frozen=True)
class Outcome:
    """The figures. `starts` are those that were to get ready, `came_up` those that did.

    `stream_faults`: of answers that were over before the kill.
    """

    kills: int
    halfway: int
    unverified: int
    lost: int
    starts: int
    came_up: int
    caught_up: int
    faults: dict[str, int]
    streams: int
    stream_faults: dict[str, int]
    survivors: int
    troubles: tuple[str, ...]
    publisher_error: str | None

    @property
    def met(self) -> bool:
        """Whether every goal is."""
        return (
            not (self.unverified or self.lost or self.survivors or self.troubles or self.publisher_error)
            and self.came_up == self.caught_up == self.starts > 0
            and not any(self.faults.values())
            and not any(self.stream_faults.values())
        )


def outcome(record: Record) -> Outcome:
    """Judge everything that was seen and add up."""
    ready = [life for life in record.lives if life.served]
    faults = Counter(
        fault
        for life in ready
        for served in life.served
        for fault in faults_of_served(served, record.versions)
    )
    streams = Counter(fault for life in ready for fault in _stream_faults(life, record))
    return Outcome(
        kills=len(record.checks),
        halfway=sum(life.halfway for life in record.lives),
        unverified=sum(check.problem is not None for check in record.checks),
        lost=_lost(record),
        starts=sum(_was_to_get_ready(life) for life in record.lives),
        came_up=sum(life.ready_s is not None for life in record.lives),
        caught_up=sum(life.caught_up for life in record.lives),
        faults={fault: faults[fault] for fault in MEANING},
        streams=sum(len(life.answers) for life in ready),
        stream_faults={fault: streams[fault] for fault in MEANING if fault not in ("half", "not live")},
        survivors=sum(life.survivors for life in record.lives),
        troubles=tuple(f"server {life.number}: {life.trouble}" for life in record.lives if life.trouble),
        publisher_error=record.publisher_error,
    )


def _was_to_get_ready(life: Life) -> bool:
    return life.moment is None or life.moment.phase not in ("starting", "loading")


def _lost(record: Record) -> int:
    """After how many kills `release.json` named an older release than when that server was started."""
    pairs = zip(record.lives, record.checks, strict=False)
    return sum(check.release is None or check.release < life.pointed for life, check in pairs)


def _stream_faults(life: Life, record: Record) -> Iterator[Fault]:
    for answer in life.answers:
        if life.killed_s is None or answer.over_s < life.killed_s:
            yield from faults_of_answer(answer, record.versions)


def crashes_report(plan: Plan, record: Record) -> Report:
    """The table, a row for each server, and what is behind them."""
    found = outcome(record)
    return Report(
        name="crashes",
        title="The server killed at random moments",
        header=("", "goal", "found"),
        rows=_rows(plan, record, found),
        figures={
            "plan": asdict(plan),
            "outcome": asdict(found),
            "met": found.met,
            "published": record.published,
            "leftovers": record.leftovers,
            "lives": [_life_figures(life) for life in record.lives],
            "checks": [asdict(check) for check in record.checks],
        },
        remarks=_words(plan, record, found),
        sections=(_kills(record),),
    )


def _life_figures(life: Life) -> dict[str, Any]:
    """Without the answers of streams, of which there are hundreds, and all alike."""
    facts = asdict(life) | {"streams": len(life.answers)}
    del facts["answers"], facts["killed_s"]
    return facts


def _rows(plan: Plan, record: Record, found: Outcome) -> tuple[tuple[str, ...], ...]:
    ready = [life.ready_s for life in record.lives if life.ready_s is not None] or [float("nan")]
    rows = [
        ("servers killed (SIGKILL to the whole process group)", str(plan.kills), str(found.kills)),
        ("of these caught half way through a start or a change of release", "", str(found.halfway)),
        ("store verifies after the kill", str(plan.kills), str(found.kills - found.unverified)),
        ("kills after which release.json named an older release", "0", str(found.lost)),
        ("processes that outlived a kill", "0", str(found.survivors)),
        ("later starts that got ready", str(found.starts), str(found.came_up)),
        ("of these served what release.json names, as soon as it rested", str(found.starts),
         str(found.caught_up)),
    ]  # fmt: skip
    rows += [
        (f"after a start, {fault}: {meaning}", "0", str(found.faults[fault]))
        for fault, meaning in MEANING.items()
    ]
    rows += [
        (f"in a stream before the kill, {fault}", "0", str(n)) for fault, n in found.stream_faults.items()
    ]
    rows += [
        ("anything else that went wrong", "nothing", "; ".join(found.troubles) or "nothing"),
        ("releases published meanwhile", "", str(record.published)),
        ("streams", "", f"{found.streams:,}"),
        ("start to ready, s", "", f"median {statistics.median(ready):.0f}, longest {max(ready):.0f}"),
        ("half-made bundles left in the cache", "", str(record.leftovers)),
    ]
    return tuple(rows)


def _kills(record: Record) -> Section:
    rows = tuple(
        (
            str(life.number),
            life.moment.phase if life.moment else "stopped in order",
            f"{life.delay_s:.2f}" if life.moment else "",
            life.last_step,
            str(life.open_streams),
            str(life.processes),
            str(life.pointed),
            "" if life.ready_s is None else "yes",
        )
        for life in record.lives
    )
    header = ("server", "killed while", "s after its begin", "the last it had said", "open streams",
              "processes", "release at its start", "got ready")  # fmt: skip
    return Section("Every server", header, rows)


def _words(plan: Plan, record: Record, found: Outcome) -> tuple[str, ...]:
    phases = "; ".join(f"*{phase}*: {meaning}" for phase, meaning in PHASES.items())
    return (
        f"Goals: {'met' if found.met else 'missed'}. {found.kills} kills in {record.seconds / 60:.0f} "
        f"minutes, seed {plan.seed}, {plan.pause_s:g} s from one release to the next, server flags: "
        f"{' '.join(plan.flags) or 'none'}.",
        f"Every release brings each of {len(DOMAINS)} domains an adapter that says a word of its own and "
        "nothing else, so half of a release would show. Publishing goes on through kills and starts. A start "
        "is looked at twice: at once, when what it lists and says must be of one release not older than the "
        "one release.json named when it was started; and with publishing held, when it must be the one "
        "release.json names. A server that is killed before it is ready answers nothing: the next one that "
        "gets ready speaks for it too.",
        f"When they were killed: {phases}. The moment is drawn evenly over the phase's length.",
    )
