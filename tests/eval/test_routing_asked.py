"""Mistyped, embedded in conversations, misleadingly introduced: what is composed keeps its label."""

from crma_eval.routing.sets.held_out import FOLLOW_UPS, MENTIONS, NEIGHBOURS, conversations, mentions, mistype
from crma_router.classifier.augment import typos

QUESTIONS = {
    "medical": [f"What does symptom {number} point to?" for number in range(12)],
    "chess": [f"Is opening {number} sound?" for number in range(12)],
}


def test_neighbouring_keys_are_mutual() -> None:
    assert set(NEIGHBOURS["g"]) == set("ftyhbv")
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)


def test_a_mistyped_question_is_another_each_time_the_same() -> None:
    texts = [text for own in QUESTIONS.values() for text in own]
    once = [mistype(text, "seed") for text in texts]
    assert once == [mistype(text, "seed") for text in texts]
    assert once != [mistype(text, "other") for text in texts]
    assert all(
        one.lower().rstrip("?") != text.lower().rstrip("?") for one, text in zip(once, texts, strict=True)
    )
    assert typos.__module__ != mistype.__module__
    assert mistype("", "seed") == "" and mistype("日本語", "seed") == "日本語"


def test_conversations_are_of_three_kinds_and_end_in_their_domain() -> None:
    found = conversations(QUESTIONS, 4)
    assert len(found) == 2 * 3 * 4
    for question in found:
        first, last = question.turns
        own = QUESTIONS[question.domain or ""]
        if question.field == "follow-up":
            assert first in own and last in FOLLOW_UPS
        else:
            assert last in own and first not in own
    used = [turn for question in found for turn in question.turns if turn in QUESTIONS["medical"]]
    assert len(set(used)) >= 12


def test_a_mention_names_another_domain_and_keeps_the_question() -> None:
    found = mentions(QUESTIONS, 5)
    assert len(found) == 10
    for question in found:
        (text,) = question.turns
        assert any(own in text for own in QUESTIONS[question.domain or ""])
        assert question.field == ("names chess" if question.domain == "medical" else "names medical")
    assert all("chess" in one.turns[0] for one in found if one.domain == "medical")
    assert mentions({"medical": QUESTIONS["medical"]}, 5) == []
    assert all(template.count("{}") == 1 for own in MENTIONS.values() for template in own)
