"""A field cut into sub-domains, and the facts of each: what is trained, in which words, and how it is
probed.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import DataError
from crma_training.data.dataset import load_domain
from crma_training.data.rows import Row
from crma_training.data.sources import read_rows

SHORT_ANSWERS = "short_answer.jsonl"
PARTS = 4


@dataclass(frozen=True)
class Fact:
    """One fact: training rows that ask for it in different words, and a probe in words never trained on."""

    entry: str
    answer: str
    phrasings: tuple[Row, ...]
    probe: Row

    @property
    def rank(self) -> bytes:
        """Where it stands in an order that has nothing to do with its content."""
        return hashlib.sha256(f"{self.entry}\n{self.answer}".encode()).digest()


@dataclass(frozen=True)
class SubDomain:
    """A part of a field, in learning order."""

    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Rule:
    """Facts whose entry and answer match these patterns as a whole belong to `name`."""

    name: str
    entry: str
    answer: str = ".*"


# Of the demo data's legal domain. The same kinds of question stand two apart, so that each of the last two
# sub-domains asks in the very words of an earlier one: what a later one overwrites is put to the test.
RULES: dict[str, tuple[Rule, ...]] = {
    "legal": (
        Rule("bankruptcy-courts", r"court:.*b", r"Bankr\. .*"),
        Rule("law-reviews", r"journal:.*", r".*Review.*"),
        Rule("district-courts", r"court:.*d"),
        Rule("law-journals", r"journal:.*", r".*Journal.*"),
    )
}


# Three of each field of the demo data, each of one kind of fact and with at least 18 of them; a rule takes
# what the ones before it leave.
WIDE: dict[str, tuple[Rule, ...]] = {
    "medical": (
        Rule("terms", r"HP:.*"),
        Rule("icd-a-h", r"ICD-10-CM:[A-H].*"),
        Rule("icd-i-z", r"ICD-10-CM:[I-Z].*"),
    ),
    "legal": (
        Rule("courts", r"court:.*"),
        Rule("law-reviews", r"journal:.*", r".*Review.*"),
        Rule("law-journals", r"journal:.*", r".*Journal.*"),
    ),
    "financial": (
        Rule("letters", r"ISO4217:.*", r"[A-Z]{3}"),
        Rule("numbers", r"ISO4217:.*", r"\d+"),
        Rule("names", r"ISO4217:.*"),
    ),
    "code": (
        Rule("system", r"python:(?:gc|os|signal|socket|stat|sys|threading|time)\..*"),
        Rule(
            "numbers",
            r"python:(?:(?:cmath|complex|decimal|float|int|math|operator|random|statistics)\..*|hex|round)",
        ),
        Rule("objects", r"python:.*"),
    ),
    "science": (
        Rule("symbols", r"element:.*", r"[A-Z][a-z]?"),
        Rule("numbers", r"element:.*", r"\d{1,3}"),
        Rule("years", r"element:.*", r"\d{4}"),
    ),
}


@dataclass(frozen=True)
class Size:
    """Of each sub-domain: facts trained, training rows for each of them, and how many of them are probed."""

    facts: int = 6
    phrasings: int = 3
    probes: int = 6


def split_field(
    data: Path, field: str, size: Size, rules: Mapping[str, Sequence[Rule]] | None = None
) -> tuple[SubDomain, ...]:
    """The sub-domains of a field: by its rules (default: `RULES`) where it has some, else its entries in
    alphabetical order cut into four equal parts. Each has the `size.facts` facts that come first by their
    digests.

    Raises:
        DataError: no such field, or a sub-domain with too few facts.
    """
    facts = [fact for fact in field_facts(data, field) if len(fact.phrasings) >= size.phrasings]
    rules = RULES if rules is None else rules
    groups = _by_rule(facts, rules[field]) if field in rules else _by_parts(facts)
    return tuple(_taken(data / field, name, group, size) for name, group in groups.items())


def field_facts(data: Path, field: str) -> list[Fact]:
    """Every fact of the field that is both trained and probed. A fact is an entry with one of its answers."""
    domain = load_domain(data, field)
    path = data / field / SHORT_ANSWERS
    probes = {_key(row): row for row in reversed(read_rows(path)) if row.entry}
    phrasings: dict[tuple[str, str], list[Row]] = {key: [] for key in probes}
    for row in domain.train:
        if _key(row) in phrasings:
            phrasings[_key(row)].append(row)
    return [Fact(*key, tuple(phrasings[key]), probe) for key, probe in probes.items() if phrasings[key]]


def _by_rule(facts: Sequence[Fact], rules: Sequence[Rule]) -> dict[str, list[Fact]]:
    """The first rule that matches takes a fact; facts that none takes are left out."""
    groups: dict[str, list[Fact]] = {rule.name: [] for rule in rules}
    for fact in facts:
        for rule in rules:
            if re.fullmatch(rule.entry, fact.entry) and re.fullmatch(rule.answer, fact.answer):
                groups[rule.name].append(fact)
                break
    return groups


def _by_parts(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    ordered = sorted(facts, key=lambda fact: (fact.entry, fact.answer))
    cuts = [len(ordered) * part // PARTS for part in range(PARTS + 1)]
    return {f"part-{part + 1}": ordered[cuts[part] : cuts[part + 1]] for part in range(PARTS)}


def _taken(folder: Path, name: str, facts: Sequence[Fact], size: Size) -> SubDomain:
    if len(facts) < size.facts:
        raise DataError(
            f"{folder}: sub-domain {name} has {len(facts)} facts that {size.phrasings} training rows and one "
            f"of {SHORT_ANSWERS} ask for, {size.facts} are wanted; lower --facts or --phrasings"
        )
    return SubDomain(name, tuple(sorted(facts, key=lambda fact: fact.rank)[: size.facts]))


def _key(row: Row) -> tuple[str, str]:
    return row.entry, row.messages[-1].content


def training_rows(part: SubDomain, size: Size) -> Iterator[Row]:
    """What the sub-domain is trained on."""
    for fact in part.facts:
        yield from fact.phrasings[: size.phrasings]


def probe_rows(part: SubDomain, size: Size) -> Iterator[Row]:
    """What it is probed with."""
    for fact in part.facts[: size.probes]:
        yield fact.probe
