"""The length budget and what counts as words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_router.text.words import BUDGET_CHARACTERS, clip, has_words


@given(st.text(st.characters(), max_size=3000))  # lone surrogates included
def test_a_clipped_text_is_within_the_budget_and_valid(text: str) -> None:
    clipped = clip(text)
    assert len(clipped) <= BUDGET_CHARACTERS
    clipped.encode("utf-8")


def test_a_long_text_keeps_both_ends() -> None:
    clipped = clip("What does this contract say? " + "lorem ipsum " * 100_000 + "Answer briefly.")
    assert clipped.startswith("What does this contract say?")
    assert clipped.endswith("Answer briefly.")


def test_a_text_within_the_budget_stays_as_it_is() -> None:
    text = "é" * BUDGET_CHARACTERS
    assert clip(text) == text


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert clip("fever \ud800 and rash") == "fever ? and rash"


@pytest.mark.parametrize("text", ["", "   \n", "?!...", "😀🎉", "\x00\x00", "\u200b"])
def test_no_words(text: str) -> None:
    assert not has_words(text)


@pytest.mark.parametrize("text", ["a", "42", "熱", "ибупрофен?", "😀 ok"])
def test_words_in_any_script(text: str) -> None:
    assert has_words(text)
