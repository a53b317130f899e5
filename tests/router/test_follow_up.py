"""Which turns carry a conversation on and which name a topic."""

import pytest

from crma_router.conversation.follow_up import shape_of


@pytest.mark.parametrize(
    "text",
    [
        "go on", "thanks", "and the dosage?", "why?", "ok", "Thank you so much!", "tell me more",
        "can you explain that again in simpler words?", "what about children?", "how long does it take?",
        "is that safe for my grandmother?", "give me an example please", "summarise this",
        "what do you mean?",
        "which is faster?", "in writing?", "And then?", "no", "", "!!!", "🙂🙂",
        "what's the first point again?",
        "so what should I buy?", "and if my health gets worse?", "does it need surgery?",
    ],
)  # fmt: skip
def test_it_carries_on(text: str) -> None:
    assert shape_of(text).kind == "follow-up"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("What is bail?", "short"),
        ("Define amortisation", "short"),
        ("ibuprofen", "short"),
        ("symptoms of anaemia", "short"),
        ("symptoms of iron deficiency", "full"),
        ("How do I reverse a linked list in Python?", "full"),
        ("Is it legal to record a phone call?", "full"),
        ("And how do I file taxes for my small business in Germany?", "full"),
        ("How long does it take until the new medication starts to work for most patients?", "full"),
        ("頭痛と発熱があるときはどの薬を飲めばいいですか教えてください", "full"),
    ],
)
def test_it_names_a_topic(text: str, kind: str) -> None:
    assert shape_of(text).kind == kind


@pytest.mark.parametrize("text", ["summarise this:", "What is this?", "please explain the following text"])
def test_a_bare_turn_says_nothing_of_its_own(text: str) -> None:
    assert shape_of(text).bare


def test_a_turn_with_a_topic_is_not_bare() -> None:
    assert not shape_of("and the dosage?").bare
