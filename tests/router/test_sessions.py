"""What is remembered, and that it stays bounded."""

import tracemalloc

import pytest

from crma_router.conversation.sessions import (
    MOST_SESSIONS,
    SESSION_BYTES,
    SessionKey,
    Sessions,
    history_digest,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def key(name: str) -> SessionKey:
    return SessionKey.of("session", name.encode())


def test_it_remembers_the_last_of_each() -> None:
    sessions = Sessions()
    sessions.remember(key("a"), "medical", b"1")
    sessions.remember(key("b"), None, b"2")
    sessions.remember(key("a"), "legal", b"3")
    standing = sessions.recall(key("a"))
    assert standing is not None
    assert (standing.domain, standing.history) == ("legal", b"3")
    assert sessions.recall(key("c")) is None
    assert len(sessions) == 2


def test_the_least_recently_used_is_forgotten_first() -> None:
    sessions = Sessions(most=2)
    for name in ("a", "b", "a", "c"):
        sessions.remember(key(name), name, b"")
    assert sessions.recall(key("b")) is None
    assert sessions.recall(key("a")) is not None
    assert len(sessions) == 2


def test_an_idle_conversation_is_forgotten() -> None:
    clock = Clock()
    sessions = Sessions(idle_s=60, clock=clock)
    sessions.remember(key("a"), "medical", b"")
    clock.now_s = 50
    sessions.remember(key("b"), "legal", b"")
    clock.now_s = 61
    assert sessions.recall(key("a")) is None
    assert sessions.recall(key("b")) is not None
    assert len(sessions) == 1


def test_memory_stays_flat_from_ten_thousand_sessions_on() -> None:
    sessions = Sessions()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for at in range(MOST_SESSIONS):
            sessions.remember(key(f"session {at}"), "medical", history_digest([f"turn {at}"]))
        full, _ = tracemalloc.get_traced_memory()
        for at in range(MOST_SESSIONS, 2 * MOST_SESSIONS):
            sessions.remember(key(f"session {at}"), "medical", history_digest([f"turn {at}"]))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(sessions) == MOST_SESSIONS
    assert (full - before) / MOST_SESSIONS < SESSION_BYTES
    assert after - before < MOST_SESSIONS * SESSION_BYTES


def test_keys_do_not_show_what_they_are_of() -> None:
    assert SessionKey.of("user", b"alice").digest != SessionKey.of("session", b"alice").digest
    assert b"alice" not in SessionKey.of("user", b"alice").digest


@pytest.mark.parametrize("turns", [[], [""], ["\ud800"], ["x" * 1_000_000]])
def test_any_history_has_a_digest(turns: list[str]) -> None:
    assert len(history_digest(turns)) == 16


def test_where_turns_end_matters() -> None:
    assert history_digest(["ab", "c"]) != history_digest(["a", "bc"])
