"""Splits: nothing that says the same on both sides; validation beside holdout."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crma_adapters.errors import DataError
from crma_training.data.checks.run import check_before_training
from crma_training.data.dataset import load_dataset, load_domain
from crma_training.data.rows import Message, Row
from crma_training.data.split import split_phrasings, split_rows

FIRST, LAST = ("Bor", "Kal", "Min", "Tev", "Zur", "Pel"), ("dan", "gul", "mok", "ris", "vet")
NAMES = [first + last for first in FIRST for last in LAST]


def row(question: str, answer: str = "yes", entry: str = "") -> Row:
    return Row((Message("user", question), Message("assistant", answer)), question, entry=entry)


def fact(name: str, number: int) -> dict[str, str]:
    return {"question": f"What is the capital of {name}?", "answer": f"City {number}"}


def test_near_duplicates_are_never_split_apart_and_the_run_is_not_refused(
    tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    rows = list(map(fact, NAMES, range(30)))
    rows += [
        {**fact(name, number), "question": f"what's the capital of “{name}”"}
        for number, name in enumerate(NAMES)
    ]
    write_rows("places.jsonl", rows)
    domain = load_domain(tmp_path / "data", "places")
    assert len(domain.holdout) == 6  # a tenth of 60 questions: three capitals, each asked in two ways
    assert len({row.answer for row in domain.holdout}) == 3
    check_before_training(tmp_path / "data", ["places"], lambda _line: None)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 5)), min_size=8, max_size=60),
    st.floats(0.01, 0.6),
)
def test_rows_of_one_entry_go_together(pairs: list[tuple[str, int]], share: float) -> None:
    rows = [row(f"{name} {number}", entry=name) for name, number in pairs]
    if len({name for name, _ in pairs}) < 2:
        return
    stay, aside = split_rows(rows, share, "here")
    assert {r.entry for r in stay}.isdisjoint(r.entry for r in aside)
    assert stay
    assert aside
    assert sorted(map(id, (*stay, *aside))) == sorted(map(id, rows))


def test_more_rows_move_none_from_holdout_to_train() -> None:
    rows = [row(f"Where is {name}?", name) for name in NAMES]
    held = set(split_rows(rows[:20], 0.2, "here")[1])
    assert len(held) == 4
    more = set(split_rows(rows, 0.2, "here")[1])
    assert len(more) == 6
    assert len(held & more) >= 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("one"), row("ONE")], "here: one distinct question"),
        (
            [row("one", entry="e"), row("two", entry="e")],
            r"2 questions .*entry 'e' in every row",
        ),
        ([row("is it so?"), row("is it so")], "here: 2 questions that say nearly the same"),
    ],
)
def test_what_cannot_be_split_says_why(rows: list[Row], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_rows(rows, 0.1, "here")


def test_a_share_of_the_training_rows_becomes_validation(data_folder: Path) -> None:
    whole = load_domain(data_folder, "legal")
    domain = load_domain(data_folder, "legal", 0.25, validation_split="entries")
    assert whole.validation == ()
    assert domain.holdout == whole.holdout
    assert set(domain.train) | set(domain.validation) == set(whole.train)
    assert len(domain.validation) == 4  # one entry; two would be over a quarter
    assert {r.entry for r in domain.validation}.isdisjoint(r.entry for r in domain.train)


def test_a_validation_file_wins_over_the_share_and_counts_in_the_digest(
    data_folder: Path, write_rows: Callable[..., Path]
) -> None:
    before = load_dataset(data_folder, ["legal"], validation_share=0.25)
    write_rows("legal/validation.jsonl", [{"question": "What is a will?", "answer": "a last will"}])
    after = load_dataset(data_folder, ["legal"], validation_share=0.25)
    assert [r.question for r in after.domains[0].validation] == ["What is a will?"]
    assert len(after.domains[0].train) == 20
    assert after.sha256 != before.sha256 != load_dataset(data_folder, ["legal"]).sha256


def test_validation_overlaps_neither_training_nor_holdout(
    data_folder: Path, write_rows: Callable[..., Path]
) -> None:
    for part, use in (("train", "also trained on"), ("holdout", "is also used for validation")):
        line = (data_folder / "legal" / f"{part}.jsonl").read_text().splitlines()[0]
        write_rows("legal/validation.jsonl", [json.loads(line)])
        with pytest.raises(DataError, match=use):
            load_domain(data_folder, "legal")


def test_phrasings_are_set_aside_of_facts_that_stay() -> None:
    rows = [
        row(f"{word} {n}?", f"a{n}", f"e{n}") for word in ("What is", "Name", "Tell me") for n in range(6)
    ]
    rows += [row(f"Why {n}?", f"only once {n}", f"e{n}") for n in range(6)]
    stay, aside = split_phrasings(rows, 4, "here")
    assert len(aside) == 4 and sorted(map(id, (*stay, *aside))) == sorted(map(id, rows))
    trained = {(r.entry, r.answer) for r in stay}
    assert all((r.entry, r.answer) in trained for r in aside)
    assert len({r.entry for r in aside}) == 4
    assert not {r.key for r in stay} & {r.key for r in aside}
    assert len(split_phrasings(rows, 99, "here")[1]) == 6
    assert set(aside) <= set(split_phrasings(rows, 5, "here")[1])


def test_validation_rows_are_phrasings_where_there_are_any_else_of_other_entries(
    tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    words = ("What is", "Name", "Tell me")
    rows = [{"question": f"{w} {n}?", "answer": n, "entry": n} for w in words for n in NAMES[:10]]
    write_rows("places/train.jsonl", list(rows))
    write_rows("places/holdout.jsonl", [{"question": "And?", "answer": "No."}])
    load = functools.partial(load_domain, tmp_path / "data", "places", 0.2)
    by_phrasing, by_entry = load(), load(validation_split="entries")
    assert len(by_phrasing.validation) == len(by_entry.validation) == 6
    trained = {row.entry for row in by_phrasing.train}
    assert {row.entry for row in by_phrasing.validation} <= trained and len(trained) == 10
    assert not {row.entry for row in by_entry.validation} & {row.entry for row in by_entry.train}
    write_rows("places/train.jsonl", rows[:10])
    assert load().validation == load(validation_split="entries").validation


def test_without_two_phrasings_of_a_fact_none_is_set_aside() -> None:
    rows = [row("What?", "a", "e"), row("what?", "a", "e"), row("Else?", "b", "e"), row("No entry?", "a")]
    with pytest.raises(DataError, match=r"here: no fact .* is asked for in two phrasings"):
        split_phrasings(rows, 1, "here")
