"""Splitting a domain's entries into train, holdout and short_answer rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from crma_adapters.errors import DataError
from crma_training.demo_data.phrasings import question
from crma_training.demo_data.rows import DomainEntries, Entry, Row, shuffled
from crma_training.demo_data.sentence import normalised


@dataclass(frozen=True)
class Sizes:
    """Rows of one domain; a fact stands in train `paraphrases` times and once more in short_answer."""

    train_prose: int = 340
    train_facts: int = 100
    paraphrases: int = 3
    holdout_prose: int = 80
    holdout_facts: int = 20


SIZES = {
    "full": Sizes(),
    "small": Sizes(train_prose=40, train_facts=30, holdout_prose=16, holdout_facts=8),
}
"""By name; "small" is a fifth, for evaluation protocols that train many times on a CPU."""


@dataclass(frozen=True)
class DomainRows:
    """What is written for one domain."""

    train: list[Row]
    holdout: list[Row]
    short_answer: list[Row]


def split(domain: str, entries: DomainEntries, sizes: Sizes) -> DomainRows:
    """Draws the rows of `domain`; raises DataError if the entries don't suffice."""
    prose = _mixed(_distinct(entries.prose), domain)
    facts = _mixed(_distinct(entries.facts), domain)
    held_prose = prose[: sizes.holdout_prose]
    held = {entry.entry for entry in held_prose}
    held_facts = _one_each(entry for entry in facts if entry.entry not in held)[: sizes.holdout_facts]
    held |= {entry.entry for entry in held_facts}
    train_prose = [entry for entry in prose if entry.entry not in held][: sizes.train_prose]
    train_facts = [entry for entry in facts if entry.entry not in held][: sizes.train_facts]
    wanted = (sizes.holdout_prose, sizes.holdout_facts, sizes.train_prose, sizes.train_facts)
    drawn = tuple(len(part) for part in (held_prose, held_facts, train_prose, train_facts))
    if drawn != wanted:
        raise DataError(f"{domain}: drew {drawn} entries, expected {wanted}; the packages hold too few")
    train = [_row(entry, 0) for entry in train_prose]
    train += [_row(entry, turn) for entry in train_facts for turn in range(sizes.paraphrases)]
    return DomainRows(
        train=shuffled(train, lambda row: row.question + row.entry, domain),
        holdout=shuffled(
            [_row(entry, 0) for entry in [*held_prose, *held_facts]], lambda row: row.entry, domain
        ),
        short_answer=[_row(entry, sizes.paraphrases) for entry in train_facts],
    )


def _row(entry: Entry, turn: int) -> Row:
    return Row(question(entry, turn), entry.answer, entry.source, entry.entry, entry.licence)


def _distinct(entries: Iterable[Entry]) -> list[Entry]:
    """One entry per kind and topic: the same question must not have two answers."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        found.setdefault(
            (entry.kind.removesuffix("_word").removesuffix("_term"), normalised(entry.topic)), entry
        )
    return list(found.values())


def _mixed(entries: list[Entry], salt: str) -> list[Entry]:
    """Entries in a fixed shuffled order, with the kinds spread in proportion to their numbers."""
    kinds = groupby(sorted(entries, key=lambda entry: entry.kind), key=lambda entry: entry.kind)
    placed = [spot for _, group in kinds for spot in _spread(list(group), salt)]
    return [entry for _, _, entry in sorted(placed, key=lambda spot: (spot[0], spot[1]))]


def _spread(group: list[Entry], salt: str) -> Iterator[tuple[float, str, Entry]]:
    for rank, entry in enumerate(shuffled(group, lambda entry: entry.entry + entry.topic, salt)):
        yield (rank + 0.5) / len(group), entry.kind, entry


def _one_each(entries: Iterable[Entry]) -> list[Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry.entry, entry)
    return list(found.values())
