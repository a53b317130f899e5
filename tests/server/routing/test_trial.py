from hypothesis import given
from hypothesis import strategies as st

from crma_router.conversation.sessions import SessionKey
from crma_server.routing.catalog import Trial, adapter_entry
from crma_server.routing.trial import is_drawn

WEIGHTS = st.floats(0.001, 0.999)


def trial(weight: float, version: str = "a" * 12) -> Trial:
    return Trial(adapter_entry("medical", version, None), weight)


@given(st.binary(min_size=1), WEIGHTS, WEIGHTS)
def test_a_growing_weight_only_adds_sessions(session: bytes, one: float, other: float) -> None:
    key = SessionKey.of("session", session)
    small, large = sorted((one, other))
    assert is_drawn(key, "medical", trial(small)) <= is_drawn(key, "medical", trial(large))


def test_the_share_is_the_weight_and_another_canary_draws_others() -> None:
    keys = [SessionKey.of("session", b"%d" % n) for n in range(4000)]
    first = {n for n, key in enumerate(keys) if is_drawn(key, "medical", trial(0.2))}
    second = {n for n, key in enumerate(keys) if is_drawn(key, "medical", trial(0.2, "b" * 12))}
    elsewhere = {n for n, key in enumerate(keys) if is_drawn(key, "legal", trial(0.2))}
    for drawn in (first, second, elsewhere):
        assert 700 < len(drawn) < 900
    for other in (second, elsewhere):
        assert 100 < len(first & other) < 220  # independent draws share 160


def test_the_draw_is_the_same_in_every_process() -> None:
    drawn = [n for n in range(12) if is_drawn(SessionKey.of("session", b"%d" % n), "medical", trial(0.5))]
    assert drawn == [3, 5, 7]
