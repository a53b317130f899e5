"""Repetition within a file, between files, between domains."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crma_training.data.checks.finding import Finding
from crma_training.data.checks.record import read_folder
from crma_training.data.checks.repeats import check_repeats

WriteRows = Callable[..., Path]
Found = list[tuple[str, str, str, str]]


def row(question: str, answer: str = "An answer.") -> dict[str, str]:
    return {"question": question, "answer": answer}


@pytest.fixture
def check(data_folder: Path, write_rows: WriteRows) -> Callable[..., list[Finding]]:
    """Findings after adding rows to files of the clean dataset."""

    def run(**files: list[dict[str, str]]) -> list[Finding]:
        for name, rows in files.items():
            path = data_folder / (name.replace("__", "/") + ".jsonl")
            kept = path.read_text() if path.exists() else ""
            added = write_rows(f"{name.replace('__', '/')}.jsonl", list(rows)).read_text()
            path.write_text(kept + added)
        found = list(check_repeats(read_folder(data_folder).records))
        return [finding for finding in found if finding.kind != "same-answer"]

    return run


def places(findings: list[Finding]) -> Found:
    return [(f.kind, f.severity, f.domain, "/".join(Path(f.where).parts[-2:])) for f in findings]


def test_a_clean_dataset_has_only_paraphrases(data_folder: Path) -> None:
    found = list(check_repeats(read_folder(data_folder).records))
    assert {(f.kind, f.severity) for f in found} == {("same-answer", "warning")}
    assert len(found) == 16


def test_the_same_row_twice_is_a_duplicate(check: Callable[..., list[Finding]]) -> None:
    found = check(code__train=[row("What is a monad?"), row("What  IS a monad?", "an answer")])
    assert places(found) == [("duplicate", "warning", "code", "code/train.jsonl:22")]
    assert found[0].detail.endswith("code/train.jsonl:21")


def test_one_question_with_two_answers_is_a_conflict(check: Callable[..., list[Finding]]) -> None:
    found = check(code__train=[row("What is a monad?"), row("What is a monad?", "A burrito.")])
    assert places(found) == [("conflict", "warning", "code", "code/train.jsonl:22")]


def test_a_reworded_row_in_one_file_is_a_near_duplicate(check: Callable[..., list[Finding]]) -> None:
    found = check(code__holdout=[row("What is a monad?"), row("What's a monad"), row("what is a MONAD!")])
    assert places(found) == [
        ("near-duplicate", "warning", "code", "code/holdout.jsonl:6"),
        ("near-duplicate", "warning", "code", "code/holdout.jsonl:7"),
    ]


def test_a_holdout_question_in_training_is_a_leak(check: Callable[..., list[Finding]]) -> None:
    found = check(code__train=[row("What is a monad?")], code__holdout=[row("what is a Monad?", "Else.")])
    assert places(found) == [("leak", "error", "code", "code/holdout.jsonl:5")]
    assert found[0].refuses_training


def test_a_reworded_holdout_question_in_training_is_a_leak(check: Callable[..., list[Finding]]) -> None:
    found = check(code__train=[row("What is a monad?")], code__holdout=[row("What's a “monad”", "Else.")])
    assert places(found) == [("near-leak", "error", "code", "code/holdout.jsonl:5")]
    assert found[0].refuses_training
    assert "code/train.jsonl:21" in found[0].detail


def test_a_paraphrase_with_the_same_long_answer_is_a_warning(
    data_folder: Path, write_rows: WriteRows
) -> None:
    said = "A monoid in the category of endofunctors."
    write_rows("code/train.jsonl", [row("What is a monad?", said)])
    write_rows("code/holdout.jsonl", [row("Please explain what programmers mean by monads", said)])
    (found,) = (f for f in check_repeats(read_folder(data_folder, ["code"]).records))
    assert (found.kind, found.severity, found.refuses_training) == ("same-answer", "warning", False)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("short_answer", "train"),
        ("short_answer", "holdout"),
        ("holdout", "router_train"),
        ("router_eval", "train"),
        ("router_eval", "router_train"),
    ],
)
def test_other_evaluations_that_overlap_are_warnings(
    check: Callable[..., list[Finding]], here: str, there: str
) -> None:
    found = check(**{f"code__{here}": [row("What is a monad?")], f"code__{there}": [row("what is a monad?")]})
    assert [finding[:3] for finding in places(found)] == [("overlap", "warning", "code")]
    assert Path(found[0].where.rpartition(":")[0]).stem == here


def test_a_question_taught_as_two_domains_is_a_warning(check: Callable[..., list[Finding]]) -> None:
    found = check(
        code__train=[row("What is a bench?")], legal__router_train=[{"question": "What is a bench?"}]
    )
    assert [finding[:3] for finding in places(found)] == [("two-domains", "warning", "legal")]


def test_a_holdout_question_of_another_domains_training_is_a_warning(
    check: Callable[..., list[Finding]],
) -> None:
    found = check(code__train=[row("What is a bench?")], legal__holdout=[row("What is a bench?")])
    assert [finding[:3] for finding in places(found)] == [("two-domains", "warning", "legal")]
