"""Variants hang on the questions and the seed alone, and are what they are said to be."""

import random

import pytest

from crma_router.classifier.augment import Augmentation, Rarity, augment, casing, chatty, typos

TERMS = ("tort", "estoppel", "escrow", "lien", "novation")
TEXTS = [f"What does the term {word} mean in law?" for word in TERMS]
ALL = Augmentation(4.0)


def test_none_are_made_where_none_are_wanted() -> None:
    assert augment(TEXTS, Augmentation(0.0), 0) == []


def test_order_does_not_matter_and_the_seed_does() -> None:
    forward = {(TEXTS[at], variant) for at, variant in augment(TEXTS, ALL, 0)}
    backward = {(TEXTS[::-1][at], variant) for at, variant in augment(TEXTS[::-1], ALL, 0)}
    assert forward == backward
    assert forward != {(TEXTS[at], variant) for at, variant in augment(TEXTS, ALL, 1)}


def test_variants_are_new_and_as_many_as_asked_for() -> None:
    many = [f"what is thing number {number} made of" for number in range(400)]
    found = [variant for _, variant in augment(many, Augmentation(1.0), 0)]
    assert len(set(found)) == len(found) and not set(found) & set(many)
    assert 300 < len(found) <= 400
    assert len(augment(many, Augmentation(0.5), 0)) < 250


def test_a_question_is_cut_down_to_what_stands_out_of_it() -> None:
    words = Rarity(TEXTS)
    short = {words.shorten(TEXTS[0], random.Random(seed)) for seed in range(40)}
    assert all("tort" in one for one in short)
    assert {"What is tort?", "about tort"} <= short
    assert max(len(one.split()) for one in short) <= 8


@pytest.mark.parametrize("text", ["", "?", "a", "a b c d", "?! ...", "日本 語 です"])
def test_nothing_is_too_short_to_be_varied(text: str) -> None:
    words = Rarity([text])
    for seed in range(30):
        for way in (typos, casing, chatty, words.shorten):
            assert isinstance(way(text, random.Random(seed)), str)


def test_slips_leave_most_letters_standing() -> None:
    text = "what are the symptoms of pneumonia in children"
    slipped = [typos(text, random.Random(seed)) for seed in range(30)]
    assert len(set(slipped)) > 10
    assert all(len(one.split()) == len(text.split()) and abs(len(one) - len(text)) < 8 for one in slipped)
