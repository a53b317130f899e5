"""Splits of a domain's rows by question, in which nothing that says the same stands on both sides."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from crma_adapters.errors import DataError
from crma_training.data.checks.similar import Similarity
from crma_training.data.rows import Row

ValidationSplit = Literal["phrasings", "entries"]
VALIDATION_SPLITS: tuple[ValidationSplit, ...] = ("phrasings", "entries")
HOLDOUT_SHARE = 0.1  # of the distinct questions of a domain that brings no holdout of its own


def split_rows(
    rows: Sequence[Row], share: float, location: object
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """The rows that stay and those set aside: about `share` of the distinct questions, at least one.

    Questions are taken in the order of their hashes, so other rows do not move a row from one side to the
    other. Rows of one entry, and near-duplicates (`checks.similar`), go together; a group that is larger than
    what is to be set aside stays.

    Raises:
        DataError: fewer than two groups; `location` is the file or domain it names.
    """
    members = _groups(rows)
    if len(set(map(id, members.values()))) < 2:
        raise DataError(_too_few(rows, len(members), location))
    budget = max(1, int(len(members) * share + 1e-9))
    aside: set[str] = set()
    in_order = sorted(members, key=_hash)
    for key in in_order:
        group = members[key]
        if not aside & group and len(group) <= budget - len(aside):
            aside |= group
    if not aside:
        aside = min((members[key] for key in in_order), key=len)
    return tuple(row for row in rows if row.key not in aside), tuple(row for row in rows if row.key in aside)


def split_phrasings(
    rows: Sequence[Row], count: int, location: object
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """The rows that stay and those set aside: at most `count`, each another phrasing of a fact that stays.

    A fact is an entry with one of its answers. What is set aside tells whether what was trained is learnt,
    where rows of other facts (`split_rows`) tell whether what was not trained is known. Facts are taken in
    the order of their hashes, one row of each, the one whose hash comes last; a question that other rows ask
    in the same words stays.

    Raises:
        DataError: no fact is asked for in two phrasings; `location` is the file or domain it names.
    """
    asked = Counter(row.key for row in rows)
    facts: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.entry and asked[row.key] == 1:
            facts[row.entry, row.answer].append(row)
    chosen = [max(group, key=lambda row: _hash(row.key)) for group in facts.values() if len(group) > 1]
    if not chosen:
        raise DataError(
            f"{location}: no fact (rows of one entry and answer) is asked for in two phrasings, so none can "
            "be set aside; split by entries, or bring your own validation.jsonl"
        )
    aside = {row.key for row in sorted(chosen, key=lambda row: _hash(f"{row.entry}/{row.answer}"))[:count]}
    return tuple(row for row in rows if row.key not in aside), tuple(row for row in rows if row.key in aside)


def validation_rows(
    rows: Sequence[Row], share: float, how: ValidationSplit, location: object
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """The rows that stay and `share` of them that choices are made on.

    "phrasings": of facts that stay trained (`split_phrasings`), so that their loss says whether what is
    trained is learnt; by entries where no fact is asked for twice. "entries": of facts that are not trained
    (`split_rows`), whose loss rises while facts are learnt by heart.

    Raises:
        DataError: as `split_rows`.
    """
    if how == "phrasings":
        try:
            return split_phrasings(rows, max(2, round(share * len(rows))), location)
        except DataError:
            pass
    return split_rows(rows, share, location)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _groups(rows: Sequence[Row]) -> dict[str, set[str]]:
    """For every key, the one set of all keys that must lie on the same side, itself included."""
    members = {row.key: {row.key} for row in rows}
    for one, other in _same(rows):
        if members[one] is not members[other]:
            small, large = sorted((members[one], members[other]), key=len)
            large |= small
            members.update(dict.fromkeys(small, large))
    return members


def _same(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    entries: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.entry:
            entries[row.entry].append(row.key)
    for keys in entries.values():
        yield from ((keys[0], key) for key in keys[1:])
    yield from ((rows[one].key, rows[other].key) for one, other in Similarity(rows).pairs())


def _too_few(rows: Iterable[Row], questions: int, location: object) -> str:
    if questions < 2:
        return f"{location}: one distinct question; at least two are needed, one is held out"
    entries = {row.entry for row in rows}
    reason = f"entry {entries.pop()!r} in every row" if len(entries) == 1 and "" not in entries else "in all"
    return (
        f"{location}: {questions} questions that say nearly the same ({reason}), so none can be set aside; "
        "add other questions, or bring your own holdout.jsonl"
    )
