"""What is remembered of conversations between their requests: digests, domains, times, and no more than so
many.

Nothing that a user wrote or is called is kept. Threads may share one.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

MOST_SESSIONS = 10_000
IDLE_S = 1800.0
SESSION_BYTES = 600
"""What one remembered conversation takes at most, so all of them at most 6 MB."""

KeyKind = Literal["session", "response", "user", "opening"]


@dataclass(frozen=True)
class SessionKey:
    """By which kind of name, and its digest.

    `session`: the client names the conversation. `response`: by the answer that is gone on from. `user`:
    it names the person. `opening`: by how it began.
    """

    kind: KeyKind
    digest: bytes

    @classmethod
    def of(cls, kind: KeyKind, value: bytes) -> "SessionKey":
        """A key that does not show `value`."""
        return cls(kind, hashlib.blake2b(value, digest_size=16, person=kind.encode("ascii")).digest())


@dataclass(frozen=True, slots=True)
class SessionState:
    """`domain`: what a conversation is on, None for none. `history`: digest of the user turns before."""

    domain: str | None
    history: bytes
    used_s: float


class Sessions:
    """The conversations of this process."""

    def __init__(
        self,
        most: int = MOST_SESSIONS,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._idle_s = idle_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, SessionState] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._kept)

    def recall(self, key: SessionKey) -> SessionState | None:
        """What was remembered last under `key`, if that is not too long ago."""
        with self._lock:
            self._forget_idle()
            return self._kept.get(key.digest)

    def remember(self, key: SessionKey, domain: str | None, history: bytes) -> None:
        """Remember what the conversation is on after the turns that `history` is the digest of."""
        with self._lock:
            self._forget_idle()
            self._kept[key.digest] = SessionState(domain, history, self._clock())
            self._kept.move_to_end(key.digest)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def _forget_idle(self) -> None:
        oldest_s = self._clock() - self._idle_s
        while self._kept and next(iter(self._kept.values())).used_s < oldest_s:
            self._kept.popitem(last=False)


def history_digest(turns: Sequence[str]) -> bytes:
    """A digest of the user turns so far."""
    digest = hashlib.blake2b(digest_size=16)
    for turn in turns:
        digest.update(hashlib.blake2b(turn.encode("utf-8", "surrogatepass")).digest())
    return digest.digest()
