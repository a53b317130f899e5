"""Weights of words, and slips."""

import math

import pytest

from crma_training.data.checks.vocabulary import Vocabulary

TEXTS = [{"what", "is", "currency", f"name{n}"} for n in range(80)]
TEXTS += [{"what", "is", "dinar", "kuwait"}] * 3 + [{"what", "is", "kuwat"}, {"what", "is", "bahrain"}]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(TEXTS)


def test_a_word_weighs_by_how_few_texts_hold_it(vocabulary: Vocabulary) -> None:
    assert vocabulary.weigh(["what", "is"]) == 0
    assert vocabulary.weigh(["kuwait"]) == pytest.approx(math.log(85 / 3))
    assert vocabulary.weigh(["kuwait", "bahrain"]) == pytest.approx(math.log(85 / 3) + math.log(85))
    assert vocabulary.weigh(["name7"]) == math.inf
    assert vocabulary.allowed(replaced=True) == vocabulary.allowed(replaced=False) / 2


def test_rare_words_and_numbers_tell_apart(vocabulary: Vocabulary) -> None:
    assert vocabulary.tells_apart(["what", "is", "currency", "bahrain", "name3"]) == {"bahrain", "name3"}


def test_a_slip_stands_for_the_known_word(vocabulary: Vocabulary) -> None:
    assert vocabulary.tells_apart(["kuwat"]) == {"kuwait"}
    assert vocabulary.is_slip("kuwat", "kuwait")
    assert vocabulary.is_slip("kuwait", "kuwat")
    assert not vocabulary.is_slip("kuwait", "bahrain")


def test_two_rare_words_that_look_alike_are_two_names() -> None:
    vocabulary = Vocabulary([{"gambia"}, {"zambia"}, *TEXTS])
    assert not vocabulary.is_slip("gambia", "zambia")
    assert vocabulary.tells_apart(["gambia"]) == {"gambia"}
