"""Small domains and dominant answers."""

from crma_training.data.checks.balance import check_balance
from crma_training.data.checks.record import Record


def rows(domain: str, answers: list[str]) -> list[Record]:
    return [
        Record(domain, "train", f"data/{domain}/train.jsonl:{n}", f"q{n}", (f"q{n}", answer))
        for n, answer in enumerate(answers)
    ]


def distinct(count: int) -> list[str]:
    return [f"answer {number}" for number in range(count)]


def test_a_domain_under_a_fifth_of_the_largest_is_reported() -> None:
    found = list(
        check_balance([*rows("code", distinct(101)), *rows("law", distinct(20)), *rows("it", distinct(21))])
    )
    assert [(f.kind, f.domain, f.where) for f in found] == [("imbalance", "law", "data/law/train.jsonl")]
    assert found[0].detail == "20 training rows; code has 101"


def test_an_answer_of_more_than_a_fifth_of_the_rows_is_reported_but_not_quoted() -> None:
    found = list(check_balance(rows("code", ["Secret.", "secret"] * 3 + distinct(19))))
    assert [(f.kind, f.severity) for f in found] == [("dominant-answer", "warning")]
    assert found[0].detail == "6 of 25 training rows have one and the same answer"
    assert list(check_balance(rows("code", ["Yes."] * 5 + distinct(20)))) == []


def test_few_rows_have_no_shares_and_none_no_balance() -> None:
    assert list(check_balance(rows("code", ["Yes."] * 19))) == []
    assert list(check_balance([])) == []
