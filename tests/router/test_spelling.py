"""Which words are put right, and which are let alone."""

import pytest

from crma_router.text.spelling import spelling
from crma_router.text.words import BUDGET_CHARACTERS


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("What is the tretment of a broken arm?", "What is the treatment of a broken arm?"),
        ("what is the meanig of bail", "what is the meaning of bail"),
        ("Is this NEUTRON stabel?", "Is this NEUTRON stable?"),
        ("do I own intrest on the loan", "do I own interest on the loan"),
        (
            " Tretment?\n(a) the tretment of pain; (b) tretment...",
            " treatment?\n(a) the treatment of pain; (b) treatment...",
        ),
    ],
)
def test_a_mistake_becomes_the_word_an_edit_away(typed: str, read: str) -> None:
    assert spelling().corrected(typed) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?!",
        "What is the legal meaning of alimony?",
        "Is obiter dictum binding, and what is estoppel?",  # rare, but words
        "read the DataFrame of nCoV rows",  # capitals inside: a name
        "why is the cta so big",  # of three letters nearly everything is an edit away
        "what's the jury's dutty's end",  # an apostrophe
        "the naïve caféé of the town",  # beyond ASCII
        "Welche Behandlung hilft gegen eine schwere Grippe?",  # of its words too few are English
        "Какова ставка налога?",
        "何ですか",
        "please sort the qzxwvk of the list",  # like no word
        "the " + "a" * 5000,
    ],
)
def test_what_is_no_mistake_stays(text: str) -> None:
    assert spelling().corrected(text) == text


def test_nothing_is_too_much_for_it() -> None:
    odd = ("the kjhqwezx zqxwvjka " * BUDGET_CHARACTERS)[:BUDGET_CHARACTERS]
    assert spelling().corrected(odd) == odd


def test_there_is_one_of_it() -> None:
    assert spelling() is spelling()
