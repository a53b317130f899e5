"""Queries are told apart by their words."""

import pytest

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
        ("What is Newton's law?", None),
        ("How do I become a lawyer?", None),
        ("when was the supreme court established", None),
        ("hydrogen bonds in water", None),
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


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("Why does my puppy bite?", (None, "veterinary")),
        ("Which iPhone is best?", ("devices", None)),
        ("What are the symptoms of a sick puppy?", (None, None)),
        ("Is my puppy an introvert?", (None, None)),
    ],
)
def test_a_neighbouring_field_is_one_alone_and_no_domains(
    query: str, fields: tuple[str | None, str | None]
) -> None:
    assert read_topics().borders(query) == fields


def test_a_domains_source_also_has_what_is_anothers() -> None:
    topics = read_topics()
    assert topics.claimed("medical", "Which genes are in the nucleus?")
    assert not topics.claimed("medical", "Which drug treats asthma?")
