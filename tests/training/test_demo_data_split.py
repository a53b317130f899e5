"""The split keeps entries on one side and asks every fact anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import DataError
from crma_training.demo_data.phrasings import phrasings
from crma_training.demo_data.rows import DomainEntries, Entry
from crma_training.demo_data.split import DomainRows, Sizes, split

SIZES = Sizes(train_prose=6, train_facts=5, paraphrases=3, holdout_prose=3, holdout_facts=2)


def entries(count: int) -> DomainEntries:
    """`count` elements, each told of in prose and known by two facts."""
    names = [f"element{number}" for number in range(count)]
    return DomainEntries(
        prose=[Entry("element_what", name, f"{name} is a metal.", "s", name, "l") for name in names],
        facts=[
            Entry(kind, name, f"{kind} of {name}", "s", name, "l")
            for name in names
            for kind in ("element_number", "element_year")
        ],
    )


def names(rows: DomainRows) -> tuple[set[str], set[str], set[str]]:
    train, holdout, short = (
        {row.entry for row in part} for part in (rows.train, rows.holdout, rows.short_answer)
    )
    return train, holdout, short


def test_sizes_are_met() -> None:
    rows = split("science", entries(30), SIZES)

    assert (len(rows.train), len(rows.holdout), len(rows.short_answer)) == (6 + 5 * 3, 5, 5)


@given(st.integers(min_value=14, max_value=60), st.sampled_from(["science", "medical"]))
def test_no_entry_lies_on_both_sides(count: int, salt: str) -> None:
    train, holdout, short = names(split(salt, entries(count), SIZES))

    assert not train & holdout
    assert short <= train


def test_every_fact_is_asked_in_other_words_than_in_training() -> None:
    rows = split("science", entries(30), SIZES)
    taught = {row.question: row.answer for row in rows.train}

    for row in rows.short_answer:
        assert row.question not in taught
        assert list(taught.values()).count(row.answer) == SIZES.paraphrases


def test_the_same_entries_give_the_same_rows_in_any_order() -> None:
    given_entries = entries(30)
    turned = DomainEntries(given_entries.prose[::-1], given_entries.facts[::-1])

    assert split("science", given_entries, SIZES) == split("science", turned, SIZES)


def test_too_few_entries_are_an_error_that_says_so() -> None:
    with pytest.raises(DataError, match=r"science: drew .* expected \(3, 2, 6, 5\)"):
        split("science", entries(6), SIZES)


def test_every_kind_has_at_least_eight_phrasings_and_each_asks_for_its_topic() -> None:
    for kind, wordings in phrasings().items():
        assert len(set(wordings)) >= 8, kind
        assert all("{x}" in wording for wording in wordings), kind
