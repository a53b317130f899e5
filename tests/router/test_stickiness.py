"""Which domain a conversation is on, with decisions prepared by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_router.conversation.dialogue import open_dialogue
from crma_router.conversation.messages import Conversation
from crma_router.conversation.sessions import SessionKey, Sessions
from crma_router.conversation.state import HISTORY_TURNS, Dialogue
from crma_router.policy import Evidence, Policy, RoutingDecision, decide

FEVER = "Which drugs lower a high fever in small children?"
LEASE = "Can my landlord keep the deposit when the lease ends?"
POEM = "Write a long poem about autumn leaves in the park"
AFTER_SURGERY = "How much sick pay am I owed after the surgery?"
NEARLY = "How long should somebody stay in bed with such a temperature?"
CONTRACT = "The lessee shall pay the lessor before the court. " * 40
POLICY = Policy(min_confidence=0.5, margin=0.2, hysteresis=1.0)

READINGS = {
    FEVER: Evidence({"legal": 0.02, "medical": 0.98}, 0.0, 1.0),
    LEASE: Evidence({"legal": 0.97, "medical": 0.03}, 0.0, 1.0),
    POEM: Evidence({"legal": 0.45, "medical": 0.55}, 3.0, 1.0),
    AFTER_SURGERY: Evidence({"legal": 0.55, "medical": 0.45}, 0.5, 1.0),
    NEARLY: Evidence({"legal": 0.1, "medical": 0.9}, 1.6, 1.0),
    "What is bail?": Evidence({"legal": 0.9, "medical": 0.1}, 0.5, 1.0),
    "ibuprofen dose": Evidence({"legal": 0.3, "medical": 0.7}, 1.5, 1.0),
    "What is it?": Evidence({"legal": 0.99, "medical": 0.01}, 0.5, 1.0),
    "What is mumps?": Evidence({"legal": 0.3, "medical": 0.7}, 0.5, 1.0),
    "thanks": Evidence({"legal": 0.6, "medical": 0.4}, 4.0, 1.0),
    "and the price?": Evidence({"legal": 0.95, "medical": 0.05}, 0.2, 1.0),
    "": Evidence({"legal": 0.5, "medical": 0.5}, 4.0, 1.0, has_words=False),
}  # fmt: skip


def read(text: str) -> RoutingDecision:
    """Prepared readings; of other texts, one that mentions a lessee is legal, else that of its first line."""
    if "lessee" in text:
        return decide(READINGS[LEASE], POLICY)
    return decide(READINGS.get(text, READINGS.get(text.split("\n")[0], READINGS["thanks"])), POLICY)


def ask(*turns: str, start: str | None = None) -> RoutingDecision:
    dialogue = Dialogue.resume(turns, start, len(turns))
    return dialogue.decide({text: read(text) for text in dialogue.texts()}, POLICY)


def test_a_first_turn_speaks_for_itself() -> None:
    assert (ask(FEVER).domain, ask(FEVER).path) == ("medical", "routed")
    assert ask(POEM).path == "fallback"
    assert ask().cause == "no words"


@pytest.mark.parametrize("turn", ["thanks", "and the price?", "What is it?", "", "!!!", "🙂"])
def test_a_follow_up_stays_whatever_it_is_like(turn: str) -> None:
    decision = ask(FEVER, turn)
    assert (decision.domain, decision.path, decision.cause) == ("medical", "sticky", "follow-up")
    assert decision.confidence == decision.scores["medical"]
    assert decision.reason.startswith(
        "the conversation is on medical and the turn carries the conversation on"
    )


def test_a_new_topic_is_followed_at_once() -> None:
    for turn in (LEASE, "What is bail?"):
        decision = ask(FEVER, "thanks", turn)
        assert (decision.domain, decision.path) == ("legal", "routed")
    assert ask(FEVER, LEASE, "thanks").domain == "legal"


def test_a_turn_on_the_same_topic_is_routed_by_itself() -> None:
    assert ask(FEVER, FEVER).path == "routed"


def test_within_the_margin_the_conversation_decides() -> None:
    assert ask(AFTER_SURGERY).domain == "legal"
    decision = ask(FEVER, AFTER_SURGERY)
    assert (decision.domain, decision.path, decision.cause) == ("medical", "sticky", "close call")


def test_a_short_turn_must_be_surer_than_a_long_one() -> None:
    assert ask(LEASE, "What is mumps?").domain == "legal"
    assert ask("What is mumps?").domain == "medical"


def test_a_long_turn_from_outside_leaves_and_a_near_one_does_not() -> None:
    assert ask(FEVER, POEM).path == "fallback"
    assert ask(FEVER, POEM, "thanks").path == "fallback"
    decision = ask(FEVER, NEARLY)
    assert (decision.domain, decision.cause) == ("medical", "near")
    assert ask(NEARLY).path == "fallback"


def test_a_paste_does_not_take_a_question_away() -> None:
    assert ask(f"{FEVER}\n```\n{CONTRACT}\n```").domain == "medical"
    assert ask(f"{CONTRACT}\n\n{FEVER}").domain == "medical"
    assert ask(FEVER, f"and the price?\n```\n{CONTRACT}\n```").domain == "medical"


def test_a_paste_speaks_where_the_user_only_points_at_it() -> None:
    assert ask(f"Summarise this:\n```\n{CONTRACT}\n```").domain == "legal"
    assert ask(CONTRACT).domain == "legal"
    assert ask(FEVER, f"Summarise this:\n```\n{CONTRACT}\n```").domain == "legal"


def test_a_follow_up_to_a_turn_on_no_domain_is_on_none_either() -> None:
    decision = ask(POEM, "and the price?")
    assert (decision.domain, decision.path, decision.cause) == (None, "fallback", "follow-up")
    assert ask(POEM, "What is bail?").domain == "legal"


def test_two_short_turns_are_read_together_where_there_is_no_domain_yet() -> None:
    decisions = {text: read(text) for text in ("ibuprofen dose", "for children")}
    decisions["ibuprofen dose\nfor children"] = read(FEVER)
    dialogue = Dialogue.resume(["ibuprofen dose", "for children"], None, 2)
    assert set(dialogue.texts()) == set(decisions)
    assert dialogue.decide(decisions, POLICY).domain == "medical"


def test_a_domain_the_router_does_not_know_is_no_domain() -> None:
    assert ask("thanks", start="poetry").path == "fallback"
    assert ask(FEVER, start="poetry").domain == "medical"


def test_a_long_history_costs_a_bounded_number_of_texts() -> None:
    dialogue = Dialogue.resume([f"{FEVER} {at}" for at in range(1000)], None, 1000)
    assert len(dialogue.texts()) == HISTORY_TURNS + 1


Turn = st.sampled_from([*READINGS, CONTRACT, f"{FEVER}\n```\n{CONTRACT}\n```"])


@given(st.lists(Turn, min_size=1, max_size=HISTORY_TURNS))
def test_memory_and_history_come_to_the_same_answer(turns: list[str]) -> None:
    """What a process remembers, and what another works out from the history, agree at every turn."""
    sessions, key = Sessions(), SessionKey.of("opening", b"x")
    said = [turn for turn in turns if turn.strip()]
    for count in range(1, len(said) + 1):
        opened = open_dialogue(sessions, key, Conversation(tuple(said[:count]), b""))
        assert opened.known == (count > 1)
        remembered = opened.dialogue.decide({text: read(text) for text in opened.dialogue.texts()}, POLICY)
        opened.close(sessions, remembered.domain)
        assert remembered == ask(*said[:count])
