"""The user's instruction, apart from what was pasted around it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_router.conversation.question import own_words
from crma_router.text.clip import has_words

CONTRACT = "The lessee shall pay the lessor a penalty upon breach of this agreement before the court. " * 30


@pytest.mark.parametrize(
    "text", ["What is a tort?", "", "x" * 900, "a < b > c, is it true?", '"short" quote']
)
def test_an_ordinary_turn_is_all_instruction(text: str) -> None:
    words = own_words(text)
    assert (words.instruction, words.pasted) == (text, False)


@pytest.mark.parametrize(
    "turn",
    [
        f"Summarise the medical findings.\n\n{CONTRACT}",
        f"{CONTRACT}\n\nSummarise the medical findings.",
        f"{CONTRACT} Summarise the medical findings.",
        f"Summarise the medical findings.\n```\n{CONTRACT}\n```",
        f"Summarise the medical findings.\n```text\n{CONTRACT}",
        f"~~~\n{CONTRACT}\n```\n~~~\nSummarise the medical findings.",
        f"<document>\n{CONTRACT}\n</document>\nSummarise the medical findings.",
        f'Summarise the medical findings. "{CONTRACT}"',
        f"Summarise the medical findings. “{CONTRACT}”",
        f"> {CONTRACT}\n> {CONTRACT}\n\nSummarise the medical findings.",
    ],
)
def test_what_is_pasted_is_no_instruction(turn: str) -> None:
    words = own_words(turn)
    assert words.instruction.strip() == "Summarise the medical findings."
    assert words.pasted


@pytest.mark.parametrize("turn", [f"```\n{CONTRACT}\n```", f"> {CONTRACT}", CONTRACT])
def test_a_paste_alone_has_no_instruction(turn: str) -> None:
    words = own_words(turn)
    assert (words.instruction, words.pasted) == ("", True)


def test_a_long_story_that_asks_nothing_at_its_ends_counts_as_a_whole() -> None:
    story = "My knee hurts since I fell on the stairs last week and the swelling did not go away. " * 20
    assert own_words(story).instruction == ""
    assert own_words(story + "\n\nWhat should I do?").instruction == "What should I do?"


@pytest.mark.parametrize(
    "piece", ["<a>\n", "```\n~~~\n", '"x', "“", "> \n", "\n\n", ". ", "<a></b>", "[" * 9, "please " * 9]
)
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    start_s = time.process_time()
    own_words(piece * (1_000_000 // len(piece)))
    assert time.process_time() - start_s < 1.0


Piece = st.sampled_from(["```", "> q", "<a>", "</a>", '"', "hi?", "", "x" * 500])


@given(st.text() | st.lists(Piece).map("\n".join))
def test_words_are_the_users_own_or_pasted(turn: str) -> None:
    words = own_words(turn)
    assert len(words.instruction) <= len(turn)
    assert has_words(words.instruction) or words.pasted or not has_words(turn)
