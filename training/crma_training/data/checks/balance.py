"""Domains of very different size, and domains in which one answer outweighs the rest."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from crma_training.data.checks.finding import Finding
from crma_training.data.checks.record import Record
from crma_training.data.checks.words import words

LARGEST_TO_SMALLEST = 5
SHARE_OF_ONE_ANSWER = 0.2
FEWEST_ROWS = 20  # shares among fewer say nothing


def check_balance(records: Iterable[Record]) -> Iterator[Finding]:
    """One finding for each domain that is small beside the largest, and for each with a dominant answer."""
    domains: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.part == "train":
            domains[record.domain].append(record)
    largest = max(domains, key=lambda name: len(domains[name]), default="")
    for name, own in domains.items():
        where = str(Path(own[0].where.rpartition(":")[0]))
        if len(own) * LARGEST_TO_SMALLEST < len(domains[largest]):
            detail = f"{len(own)} training rows; {largest} has {len(domains[largest])}"
            yield Finding("imbalance", "warning", name, where, detail)
        times = max(Counter(words(record.answer) for record in own).values())
        if len(own) >= FEWEST_ROWS and times > SHARE_OF_ONE_ANSWER * len(own):
            detail = f"{times} of {len(own)} training rows have one and the same answer"
            yield Finding("dominant-answer", "warning", name, where, detail)
