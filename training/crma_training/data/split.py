"""Splits of a domain's rows by question, in which nothing that says the same stands on both sides."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from crma_adapters.errors import DataError
from crma_training.data.checks.similar import Similarity
from crma_training.data.rows import Row

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
    in_order = sorted(members, key=lambda key: hashlib.sha256(key.encode()).digest())
    for key in in_order:
        group = members[key]
        if not aside & group and len(group) <= budget - len(aside):
            aside |= group
    if not aside:
        aside = min((members[key] for key in in_order), key=len)
    return tuple(row for row in rows if row.key not in aside), tuple(row for row in rows if row.key in aside)


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
