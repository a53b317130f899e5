"""What is kept of a domain's stream: a bounded uniform sample to learn from, and one held out for ever."""

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

HELD_OUT_SHARE = 0.1
MOST_ROWS = 2000
MOST_HELD_OUT = 200


@dataclass(frozen=True)
class Kept:
    """A row of the journal: its `digest`, its `number`, the byte it begins at, and the `key` of what it asks
    (`data.rows.Row`).
    """

    digest: str
    key: str
    number: int
    begin: int = 0


@dataclass
class Reservoir:
    """The rows of one domain with the smallest hashes: a uniform sample without replacement of all rows seen
    that depends neither on their order nor on when it was stopped and resumed, and can be merged (bottom-k
    sampling, Cohen and Kaplan 2007).

    The side a row is on is decided by the hash of what it asks alone, so a question that was held out once is
    never learnt from, whatever it is answered with, and whichever domain it comes to.
    """

    most_rows: int = MOST_ROWS
    most_held_out: int = MOST_HELD_OUT
    rows: dict[str, Kept] = field(default_factory=dict)
    held_out: dict[str, Kept] = field(default_factory=dict)
    seen: int = 0

    def add(self, kept: Kept) -> bool:
        """Takes a row; whether it may be learnt from. The same digest again changes nothing."""
        side = is_held_out(kept.key)
        rows, most = (self.held_out, self.most_held_out) if side else (self.rows, self.most_rows)
        if kept.digest not in rows:
            self.seen += 1
            rows[kept.digest] = kept
            if len(rows) > most:
                del rows[max(rows, key=_rank)]
        return not side

    def merge(self, other: "Reservoir") -> None:
        """Takes what another one has, as if all its rows had come here."""
        seen = self.seen + other.seen
        for kept in (*other.rows.values(), *other.held_out.values()):
            self.add(kept)
        self.seen = seen

    def sample(self, count: int, salt: str, without: Iterable[str] = ()) -> list[Kept]:
        """Up to `count` of the rows to learn from, in journal order, without these digests; another salt
        gives other rows.
        """
        left = self.rows.keys() - set(without)
        chosen = heapq.nsmallest(count, left, key=lambda digest: _rank(digest, salt))
        return sorted((self.rows[digest] for digest in chosen), key=lambda kept: kept.number)


def is_held_out(key: str) -> bool:
    """Whether rows that ask this are held out; `HELD_OUT_SHARE` of all questions are."""
    head = hashlib.sha256(b"held out/" + key.encode("utf-8", "replace")).digest()[:8]
    return int.from_bytes(head, "big") < HELD_OUT_SHARE * 2**64


def _rank(digest: str, salt: str = "kept") -> bytes:
    return hashlib.sha256(f"{salt}/{digest}".encode()).digest()
