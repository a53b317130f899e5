"""What readers give (entries, queries), what is written (rows), and the order that replaces chance."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One thing to ask about.

    `kind` names the phrasings it can be asked with, `topic` fills them, `answer` is the whole reply.
    `entry` identifies what it is about: rows of one entry never lie on both sides of a split.
    """

    kind: str
    topic: str
    answer: str
    source: str
    entry: str
    licence: str


@dataclass(frozen=True)
class Query:
    """A real user's question without an answer, for the router."""

    question: str
    source: str
    entry: str
    licence: str


@dataclass(frozen=True)
class FieldQuery(Query):
    """A query of no domain, and the field that it is of."""

    field: str


@dataclass(frozen=True)
class Row:
    """One line of train, holdout or short_answer."""

    question: str
    answer: str
    source: str
    entry: str
    licence: str


@dataclass(frozen=True)
class DomainEntries:
    """What a domain can be asked: `prose` answered in a sentence or two, `facts` in a word or a few."""

    prose: list[Entry]
    facts: list[Entry]


def digest(*parts: str) -> int:
    """A number that depends on the text alone: the same on every machine and Python version."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big")


def shuffled(items: Iterable[T], key: Callable[[T], str], salt: str) -> list[T]:
    """`items` in an order that looks random and is fixed by their keys."""
    return sorted(items, key=lambda item: (digest(salt, key(item)), key(item)))
