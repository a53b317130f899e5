"""Which domain a conversation is on after a turn, and when the memory is believed."""

from dataclasses import replace

import numpy as np
import pytest

from crma_router.conversation.messages import Conversation
from crma_router.conversation.sessions import SessionKey, Sessions
from crma_router.conversation.state import OpenDialogue, open_dialogue, step
from crma_router.policy import ClassifierOutput, Policy, RoutingDecision, decide

SESSION, USER, OPENING, RESPONSE = (
    SessionKey.of(kind, b"1") for kind in ("session", "user", "opening", "response")
)
NORTH, EAST = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


def own(
    scores: dict[str, float],
    distance: float = 0.0,
    carries: float = 0.0,
    words: int = 6,
    vector: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]" = NORTH,
) -> RoutingDecision:
    decision = decide(ClassifierOutput(scores, distance, 1.0), Policy())
    return replace(decision, carries=carries, words=words, vector=vector)


CODE_SURE = own({"code": 0.97, "medical": 0.03})
CODE_LIKELY = own({"code": 0.62, "medical": 0.38})
CODE_CLEAR = own({"code": 0.8, "law": 0.15, "medical": 0.05})
NOTHING = own({"code": 0.6, "medical": 0.4}, distance=5.0)
MEDICAL = own({"code": 0.02, "medical": 0.98})


def after(
    current: str | None, turn: RoutingDecision, **given: RoutingDecision
) -> tuple[str | None, str, str]:
    one = step(current, turn, given.get("before"), given.get("system"), Policy())
    return one.domain, one.path, one.cause


def test_a_sure_decision_wins_whatever_came_before() -> None:
    assert after("medical", CODE_SURE) == ("code", "routed", "sure")
    assert after("medical", replace(CODE_SURE, words=2)) == ("code", "routed", "sure")


def test_what_only_carries_on_stays() -> None:
    assert after("medical", replace(NOTHING, carries=0.9)) == ("medical", "sticky", "follow-up")
    assert after("medical", replace(CODE_LIKELY, carries=0.9)) == ("medical", "sticky", "follow-up")
    assert after("medical", replace(CODE_SURE, carries=0.99, words=3)) == ("medical", "sticky", "follow-up")
    assert after("medical", replace(NOTHING, words=2, carries=0.3)) == ("medical", "sticky", "follow-up")
    assert after("medical", replace(NOTHING, words=2)) == ("medical", "sticky", "follow-up")


def test_a_short_turn_that_leans_elsewhere_stays_a_long_one_goes() -> None:
    assert after("medical", CODE_LIKELY) == ("medical", "sticky", "close call")
    assert after("medical", CODE_CLEAR) == ("code", "routed", "sure")
    assert after("medical", replace(CODE_LIKELY, words=20)) == ("code", "routed", "sure")


def test_what_is_unlike_everything_leaves_and_what_is_like_the_turn_before_stays() -> None:
    assert after("medical", NOTHING) == (None, "fallback", "out of domain")
    near = own({"code": 0.6, "medical": 0.4}, distance=1.5)
    assert after("medical", near, before=MEDICAL) == ("medical", "sticky", "near")
    assert after("medical", replace(near, vector=EAST), before=MEDICAL) == (None, "fallback", "out of domain")
    assert after("code", near) == (None, "fallback", "out of domain")
    assert after("code", replace(near, ood_distance=1.25)) == ("code", "sticky", "near")


def test_in_a_conversation_a_likely_turn_of_another_domain_may_be_a_little_outside() -> None:
    nearly = own({"code": 0.9, "medical": 0.1}, distance=1.25)
    assert after("medical", nearly) == ("code", "routed", "near")
    assert after(None, nearly) == (None, "fallback", "out of domain")
    assert after("medical", replace(nearly, ood_distance=1.4)) == (None, "fallback", "out of domain")
    assert after("medical", replace(nearly, confidence=0.7)) == (None, "fallback", "out of domain")
    assert after("medical", replace(nearly, carries=0.8)) == ("medical", "sticky", "follow-up")


def test_a_turn_that_carries_on_a_conversation_of_no_domain_is_of_none() -> None:
    carries = replace(CODE_LIKELY, carries=0.9)
    assert after(None, carries, before=NOTHING) == (None, "fallback", "follow-up")
    assert after(None, carries) == ("code", "routed", "sure")


def test_the_system_prompt_decides_what_a_short_turn_leaves_open() -> None:
    financial = own({"financial": 0.6, "medical": 0.4}, words=4)
    system = own({"financial": 0.02, "medical": 0.98})
    assert after(None, financial, system=system) == ("medical", "routed", "system")
    assert after(None, replace(financial, words=30), system=system) == ("financial", "routed", "sure")
    sure = own({"financial": 0.999, "medical": 0.001}, words=4)
    assert after(None, sure, system=system) == ("financial", "routed", "sure")
    assert after(None, replace(NOTHING, carries=0.9), system=CODE_SURE) == ("code", "routed", "system")
    assert after(None, NOTHING, system=CODE_SURE) == (None, "fallback", "out of domain")
    assert after(None, financial, system=replace(system, ood_distance=9.0)) == ("financial", "routed", "sure")


def said(*turns: str) -> Conversation:
    return Conversation(turns, b"")


def opened(sessions: Sessions, key: SessionKey, *turns: str) -> OpenDialogue:
    return open_dialogue(sessions, key, said(*turns))


def on_medical(key: SessionKey, *turns: str) -> Sessions:
    sessions = Sessions()
    opened(sessions, key, *turns).close(sessions, "medical")
    return sessions


@pytest.mark.parametrize("key", [SESSION, USER])
def test_a_client_that_sends_only_its_last_message_goes_on(key: SessionKey) -> None:
    one = opened(on_medical(key, "a fever"), key, "thanks")
    assert (one.known, one.dialogue.start, one.dialogue.turns) == (True, "medical", ("thanks",))


def test_an_answer_is_gone_on_from_by_its_name_as_often_as_one_likes() -> None:
    sessions = Sessions()
    first = open_dialogue(sessions, OPENING, replace(said("a fever"), reply=RESPONSE))
    first.close(sessions, "medical")
    for _ in range(2):
        one = opened(sessions, RESPONSE, "go on")
        assert (one.known, one.dialogue.start) == (True, "medical")
        one.close(sessions, "code")


def test_two_conversations_that_open_alike_are_two() -> None:
    one = opened(on_medical(OPENING, "hi"), OPENING, "hi")
    assert (one.known, one.dialogue.start) == (False, None)


@pytest.mark.parametrize("key", [SESSION, USER, OPENING])
def test_a_history_that_is_remembered_is_not_read_again(key: SessionKey) -> None:
    one = opened(on_medical(key, "a", "b"), key, "a", "b", "c")
    assert (one.known, one.dialogue.start, one.dialogue.before, one.dialogue.turns) == (
        True,
        "medical",
        "b",
        ("c",),
    )


@pytest.mark.parametrize("key", [USER, OPENING])
def test_a_history_that_is_another_is_read_again(key: SessionKey) -> None:
    one = opened(on_medical(key, "a", "b"), key, "a", "x", "c")
    assert (one.known, one.dialogue.start, len(one.dialogue.turns)) == (False, None, 3)


def test_in_a_named_conversation_a_window_of_its_history_goes_on_from_what_is_known() -> None:
    one = opened(on_medical(SESSION, "a", "b", "c"), SESSION, "c", "d")
    assert (one.known, one.dialogue.start, len(one.dialogue.turns)) == (True, "medical", 2)


def test_nothing_said_is_a_dialogue_too() -> None:
    assert opened(Sessions(), OPENING).dialogue.texts() == [""]
