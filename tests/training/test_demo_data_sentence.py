"""Sentences are whole, short and clean, or not taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_training.demo_data.sentence import MAX_WORDS, balanced, normalised, sentences, whole


def test_a_sentence_ends_at_a_full_stop_but_not_in_an_abbreviation() -> None:
    text = "Swelling (e.g. of the hand). It lasts long. See Dr. Smith for more."

    assert sentences(text) == ["Swelling (e.g. of the hand).", "It lasts long.", "See Dr. Smith for more."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the act of moving a  thing", "The act of moving a thing."),
        ("Toes point outward (outtoeing) .", "Toes point outward (outtoeing)."),
        ("A break in the olecranon,which is a bone.", "A break in the olecranon, which is a bone."),
        ("One two three four. Five six seven. Eight nine ten.", "One two three four. Five six seven."),
    ],
)
def test_whole_closes_capitalises_and_keeps_two_sentences(text: str, expected: str) -> None:
    assert whole(text) == expected


@pytest.mark.parametrize(
    "text", ["", "too short", "a bracket (that never closes", 'an odd " quote stands here']
)
def test_what_is_no_sentence_is_refused(text: str) -> None:
    assert whole(text) is None


def test_a_first_sentence_that_is_too_long_is_refused() -> None:
    assert whole("word " * (MAX_WORDS + 1)) is None


@given(st.text(max_size=400))
def test_whole_gives_nothing_or_a_closed_sentence_within_its_length(text: str) -> None:
    result = whole(text, max_words=20)

    assert result is None or (result[-1] in ".!?" and len(result.split()) <= 20 and balanced(result))


def test_an_exact_match_ignores_case_and_marks() -> None:
    assert normalised(" Bankr. N.D. Tex. ") == normalised("bankr n d tex")
