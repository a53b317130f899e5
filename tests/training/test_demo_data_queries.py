"""Queries are told apart by their words, and the router's halves don't overlap."""

import pytest

from crma_training.demo_data.queries import halves, opening_lines, small_talk
from crma_training.demo_data.rows import Query
from crma_training.demo_data.topics import read_topics


@pytest.mark.parametrize(
    ("query", "domain"),
    [
        ("What are the symptoms of the flu?", "medical"),
        ("can a landlord evict you without a court order", "legal"),
        ("Should I pay off my mortgage early?", "financial"),
        ("how to sort a list in python", "code"),
        ("Why is the speed of photons constant?", "science"),
        ("who sings the song about the supreme court", None),
        ("Is there a python library for stocks?", None),
        ("what is the best pizza place in town", None),
    ],
)
def test_strong_words_of_one_domain_decide(query: str, domain: str | None) -> None:
    assert read_topics().speaks_of(query) == domain


@pytest.mark.parametrize(
    "query", ["Which laptop should I buy?", "how much does a house cost", "is my heart ok"]
)
def test_what_touches_a_domain_is_not_out_of_domain(query: str) -> None:
    assert not read_topics().everyday(query)


def test_everyday_life_is() -> None:
    assert read_topics().everyday("How can I make my girlfriend happy?")


def test_small_talk_covers_greetings_and_thanks() -> None:
    said = {query.question.lower().rstrip("!?.") for query in small_talk()}

    assert {"hi", "hello", "how are you", "thanks", "tell me a joke", "bye"} <= said


def test_halves_are_equal_distinct_and_disjoint() -> None:
    queries = [Query(f"question {number}", "s", str(number), "l") for number in range(21)]
    cut = halves([*queries, *queries], size=100, salt="x")

    train, evaluation = ({query.question for query in half} for half in (cut.train, cut.evaluation))
    assert len(train) == len(evaluation) == 10
    assert not train & evaluation


def test_halves_keep_to_their_size() -> None:
    cut = halves([Query(f"q{number}", "s", str(number), "l") for number in range(50)], size=7, salt="x")

    assert (len(cut.train), len(cut.evaluation)) == (7, 7)


def test_opening_lines_are_first_utterances_on_one_line() -> None:
    corpus = "- - Hello\n  - Hi\n- - 'It''s me'\n  - Oh\n- - A long\n    line\n  - Yes\n- - Hello\n  - Hey\n"

    assert opening_lines(corpus) == ["Hello", "It's me"]
