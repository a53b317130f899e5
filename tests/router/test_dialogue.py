"""When the memory is believed."""

from crma_router.conversation.dialogue import OpenDialogue, open_dialogue
from crma_router.conversation.messages import Conversation
from crma_router.conversation.sessions import SessionKey, Sessions

SESSION, USER, OPENING = (SessionKey.of(kind, b"1") for kind in ("session", "user", "opening"))


def said(*turns: str) -> Conversation:
    return Conversation(turns, b"")


def opened(sessions: Sessions, key: SessionKey, *turns: str) -> OpenDialogue:
    return open_dialogue(sessions, key, said(*turns))


def on_medical(key: SessionKey, *turns: str) -> Sessions:
    sessions = Sessions()
    opened(sessions, key, *turns).close(sessions, "medical")
    return sessions


def test_a_client_that_sends_only_its_last_message_goes_on() -> None:
    for key in (SESSION, USER):
        one = opened(on_medical(key, "a fever"), key, "thanks")
        assert (one.known, one.dialogue.start, len(one.dialogue.turns)) == (True, "medical", 1)


def test_a_follow_up_in_a_conversation_that_is_on_no_domain_is_no_opening() -> None:
    sessions = Sessions()
    opened(sessions, SESSION, "tell me a joke").close(sessions, None)
    one = opened(sessions, SESSION, "and the price?")
    assert (one.known, one.dialogue.start, one.dialogue.turns[0].first) == (True, None, False)
    assert opened(Sessions(), SESSION, "and the price?").dialogue.turns[0].first


def test_two_conversations_that_open_alike_are_two() -> None:
    one = opened(on_medical(OPENING, "hi"), OPENING, "hi")
    assert (one.known, one.dialogue.start) == (False, None)


def test_a_history_that_is_remembered_is_not_read_again() -> None:
    for key in (SESSION, USER, OPENING):
        one = opened(on_medical(key, "a", "b"), key, "a", "b", "c")
        assert (one.known, one.dialogue.start, len(one.dialogue.turns)) == (True, "medical", 1)


def test_a_history_that_is_another_is_read_again() -> None:
    for key in (USER, OPENING):
        one = opened(on_medical(key, "a", "b"), key, "a", "x", "c")
        assert (one.known, one.dialogue.start, len(one.dialogue.turns)) == (False, None, 3)


def test_in_a_named_conversation_a_window_of_its_history_goes_on_from_what_is_known() -> None:
    one = opened(on_medical(SESSION, "a", "b", "c"), SESSION, "c", "d")
    assert (one.known, one.dialogue.start, len(one.dialogue.turns)) == (True, "medical", 2)


def test_nothing_said_is_a_dialogue_too() -> None:
    one = opened(Sessions(), OPENING)
    assert one.dialogue.texts() == [""]
