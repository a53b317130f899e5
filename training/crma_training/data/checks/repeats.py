"""Rows that stand twice, and questions that stand on both sides of a split."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from crma_training.data.checks.finding import Finding, Severity
from crma_training.data.checks.record import Record
from crma_training.data.checks.similar import Similarity
from crma_training.data.checks.words import words

SPLIT = ("train", "validation", "holdout")
TELLING_WORDS = 5  # an answer of so many words is no coincidence


@dataclass(frozen=True)
class _Overlap:
    """A question of `here` that also stands in `there`."""

    here: str
    there: str
    kind: str
    severity: Severity
    meaning: str


LEAK = _Overlap("holdout", "train", "leak", "error", "this holdout question is also trained on")
OVERLAPS = (
    LEAK,
    _Overlap("validation", "train", "leak", "error", "this validation question is also trained on"),
    _Overlap("holdout", "validation", "leak", "error", "this holdout question is used for validation"),
    _Overlap("short_answer", "train", "overlap", "warning", "asked in the very words of training"),
    _Overlap("short_answer", "holdout", "overlap", "warning", "in both evaluations"),
    _Overlap("holdout", "router_train", "overlap", "warning", "the router is fitted on this question"),
    _Overlap("router_eval", "train", "overlap", "warning", "the router is fitted on this question"),
    _Overlap("router_eval", "router_train", "overlap", "warning", "the router is fitted on this question"),
)


def check_repeats(records: Sequence[Record]) -> Iterator[Finding]:
    """Exact and near repetition within every domain, exact repetition across domains."""
    domains: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        domains[record.domain].append(record)
    for own in domains.values():
        yield from _exact(own)
        yield from _near([record for record in own if record.part in SPLIT])
        yield from _answers(own)
    yield from _across(records)


def _exact(records: Sequence[Record]) -> Iterator[Finding]:
    first: dict[tuple[str, str], Record] = {}
    for record in records:
        other = first.setdefault((record.part, record.key), record)
        if other is record:
            continue
        if " ".join(words(record.answer)) == " ".join(words(other.answer)):
            yield _finding("duplicate", "warning", record, f"same row as {other.where}")
        else:
            yield _finding("conflict", "warning", record, f"same question, other answer: {other.where}")
    for overlap in OVERLAPS:
        for record in records:
            twin = first.get((overlap.there, record.key)) if record.part == overlap.here else None
            if twin is not None:
                yield _finding(overlap.kind, overlap.severity, record, f"{overlap.meaning}: {twin.where}")


def _near(records: Sequence[Record]) -> Iterator[Finding]:
    ordered = [record for part in SPLIT for record in records if record.part == part]
    seen: set[tuple[str, str]] = set()  # a row has one finding of a kind, however many rows are like it
    for earlier, later in Similarity(ordered).pairs():
        one, other = ordered[earlier], ordered[later]
        leaks = one.part != other.part
        kind = "near-leak" if leaks else "near-duplicate"
        if one.key == other.key or (kind, other.where) in seen:
            continue
        seen.add((kind, other.where))
        use = "trained on" if one.part == "train" else "used for validation"
        meaning = f"this {other.part} question is {use}, reworded" if leaks else "almost the same row"
        yield _finding(kind, "error" if leaks else "warning", other, f"{meaning}: {one.where}")


def _answers(records: Iterable[Record]) -> Iterator[Finding]:
    """Holdout answers that training holds word for word, to another question: perhaps a paraphrase."""
    trained: dict[tuple[str, ...], Record] = {}
    for record in records:
        said = words(record.answer)
        if record.part == "train" and len(said) >= TELLING_WORDS:
            trained.setdefault(said, record)
        elif record.part == "holdout" and (other := trained.get(said)) and other.key != record.key:
            yield _finding("same-answer", "warning", record, f"training has this very answer: {other.where}")


def _across(records: Iterable[Record]) -> Iterator[Finding]:
    """Questions taught to the router as two domains', and holdout questions another domain trains on."""
    taught: dict[str, Record] = {}
    for record in records:
        if record.part in ("train", "router_train"):
            other = taught.setdefault(record.key, record)
            if other.domain != record.domain:
                yield _finding("two-domains", "warning", record, f"also a question of {other.where}")
    for record in records:
        twin = taught.get(record.key) if record.part == "holdout" else None
        if twin is not None and twin.domain != record.domain:
            yield _finding("two-domains", "warning", record, f"another domain trains on it: {twin.where}")


def _finding(kind: str, severity: Severity, record: Record, detail: str) -> Finding:
    return Finding(kind, severity, record.domain, record.where, detail)
