"""What a run of swaps came to, in figures and words.

Owns: the goals, the table and the sentences.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from crma_eval.report import Report
from crma_eval.serving.swaps.judgement import MEANING, Fault, faults
from crma_eval.serving.swaps.session import OPEN_STREAMS, Plan, Record

GOAL_FIRST_ANSWER_S = 5.0
GOAL_STREAMS = OPEN_STREAMS
GOAL_GROWTH = 0.05
KEPT = 3
_SETTLED = 10
"""Swaps after which caches are filled: growth is counted from there."""


@dataclass(frozen=True)
class Outcome:
    """The figures. Growth is the fitted line's rise from the settled start to the end, by its start."""

    swaps: int
    missed: int
    answers: int
    tokens: int
    faults: dict[str, int]
    first_answer_s: tuple[float, ...]
    fewest_streams: int
    usual_streams: float
    memory_growth: float
    files_growth: float
    kept_names: int
    gone_status: int | None

    @property
    def met(self) -> bool:
        """Whether every goal is."""
        return (
            not self.missed
            and not any(self.faults.values())
            and max(self.first_answer_s, default=float("inf")) <= GOAL_FIRST_ANSWER_S
            and self.fewest_streams >= GOAL_STREAMS
            and max(self.memory_growth, self.files_growth) <= GOAL_GROWTH
            and (self.kept_names, self.gone_status) == (KEPT, 404)
        )


def outcome(record: Record) -> Outcome:
    """Judge every answer and add up."""
    found: Counter[Fault] = Counter(
        fault for answer in record.answers for fault in faults(answer, record.timeline)
    )
    swapped = record.timeline.releases[1:]
    return Outcome(
        swaps=len(swapped) - record.missed,
        missed=record.missed,
        answers=len(record.answers),
        tokens=sum(sum(answer.words.values()) for answer in record.answers),
        faults={fault: found[fault] for fault in MEANING},
        first_answer_s=tuple(each.first_answer_s for each in swapped if each.first_answer_s is not None),
        fewest_streams=min(record.open_streams, default=0),
        usual_streams=statistics.median(record.open_streams or [0]),
        memory_growth=growth([each.memory_bytes for each in record.footprints[_SETTLED:]]),
        files_growth=growth([each.files for each in record.footprints[_SETTLED:]]),
        kept_names=len(record.names),
        gone_status=record.gone_status,
    )


def growth(values: Sequence[float]) -> float:
    """Rise of the least-squares line from the first value to the last, by where it starts; 0 for under 2."""
    if len(values) < 2:
        return 0.0
    slope, start = statistics.linear_regression(range(len(values)), values)
    return slope * (len(values) - 1) / start


def swaps_report(plan: Plan, record: Record) -> Report:
    """The table, and every swap behind it."""
    found = outcome(record)
    return Report(
        name="swaps",
        title="Release swaps under load",
        header=("", "goal", "found"),
        rows=_rows(plan, record, found),
        figures={
            "plan": asdict(plan),
            "outcome": asdict(found),
            "met": found.met,
            "releases": [
                asdict(each) | {"first_answer_s": each.first_answer_s} for each in record.timeline.releases
            ],
            "open_streams": record.open_streams,
            "footprints": [asdict(each) for each in record.footprints],
            "metrics": record.metrics,
            "names": record.names,
            "faulty": [asdict(a) for a in record.answers if any(faults(a, record.timeline))][:50],
        },
        remarks=_words(plan, record, found),
    )


def _rows(plan: Plan, record: Record, found: Outcome) -> tuple[tuple[str, ...], ...]:
    times = sorted(found.first_answer_s) or [float("nan")]
    rows = [
        ("swaps that came through", str(plan.swaps), str(found.swaps)),
        ("streams open when a release was published", f"{GOAL_STREAMS} or more",
         f"median {found.usual_streams:g}, fewest {found.fewest_streams}"),
        ("answers", "", f"{found.answers:,} with {found.tokens:,} words"),
    ]  # fmt: skip
    rows += [(f"answers {fault}: {MEANING[fault]}", "0", str(found.faults[fault])) for fault in MEANING]
    rows += [
        ("published to first answer, s", f"at most {GOAL_FIRST_ANSWER_S:g}",
         f"median {statistics.median(times):.2f}, longest {times[-1]:.2f}"),
        ("memory of all processes", f"rise of at most {GOAL_GROWTH:.0%}",
         f"{_mebibytes(record)} MiB, {found.memory_growth:+.1%}"),
        ("open files", f"rise of at most {GOAL_GROWTH:.0%}", f"{found.files_growth:+.1%}"),
        ("exact names that answer at the end", str(KEPT), str(found.kept_names)),
        ("the first release's exact name at the end", "404", str(found.gone_status)),
    ]  # fmt: skip
    rows += [(f"`{name}`", "", f"{value:g}") for name, value in sorted(record.metrics.items())]
    return tuple(rows)


def _mebibytes(record: Record) -> str:
    ends = [each.memory_bytes for each in (record.footprints[_SETTLED:] or record.footprints)]
    return f"{ends[0] / 2**20:.0f} to {ends[-1] / 2**20:.0f}" if ends else "none"


def _words(plan: Plan, record: Record, found: Outcome) -> tuple[str, ...]:
    return (
        f"Goals: {'met' if found.met else 'missed'}. {found.swaps} swaps and {found.answers:,} answers in "
        f"{record.seconds / 60:.0f} minutes, {plan.clients} clients with one stream each, server flags: "
        f"{' '.join(plan.flags) or 'none'}.",
        "Every release brings an adapter that says a word of its own and nothing else, whatever it is asked, "
        "so each word of each answer shows who gave it. An answer by the alias must come from a release not "
        "older than the newest one that was seen to answer when the request was sent, and not newer than the "
        "newest one whose publication had begun when the reply began; a quarter of the requests ask for the "
        "live version by its exact name. All clients ask the same four questions.",
        f"Growth of memory and files is that of a fitted line, from the {_SETTLED}th swap to the last.",
    )
