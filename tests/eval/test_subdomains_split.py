"""A field cut into sub-domains: which facts, in whose words, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_eval.learning.subdomains.split import Size, field_facts, probe_rows, split_field, training_rows

LEGAL = ["bankruptcy-courts", "law-reviews", "district-courts", "law-journals"]


def _row(question: str, answer: str, entry: str) -> dict[str, str]:
    return {"question": question, "answer": answer, "entry": entry}


@pytest.fixture
def field(tmp_path: Path, write_rows: Callable[..., Path]) -> Path:
    """Twelve facts of six entries, two phrasings each, and one that is probed but not trained."""
    facts = [(f"e{n % 6}", f"answer {n}") for n in range(12)]
    train = [_row(f"{start} {a} of {e}?", a, e) for start in ("What is", "Name") for e, a in facts]
    short = [_row(f"Tell me {a} of {e}.", a, e) for e, a in [*facts, ("e9", "untrained")]]
    write_rows("cooking/train.jsonl", [*train, _row("What is prose?", "Prose.", "e0")])
    write_rows("cooking/holdout.jsonl", [_row("Anything else?", "No.", "")])
    write_rows("cooking/short_answer.jsonl", short)
    return tmp_path / "data"


def test_a_fact_is_an_entry_with_one_of_its_answers(field: Path) -> None:
    facts = field_facts(field, "cooking")
    assert len(facts) == 12 and "untrained" not in {fact.answer for fact in facts}
    for fact in facts:
        assert [row.entry for row in fact.phrasings] == [fact.entry] * 2
        assert {row.messages[-1].content for row in (*fact.phrasings, fact.probe)} == {fact.answer}


def test_without_a_rule_the_entries_are_cut_into_four_parts(field: Path) -> None:
    size = Size(facts=2, phrasings=2, probes=1)
    parts = split_field(field, "cooking", size)
    assert [part.name for part in parts] == ["part-1", "part-2", "part-3", "part-4"]
    taken = [(fact.entry, fact.answer) for part in parts for fact in part.facts]
    assert len(set(taken)) == 8
    entries = [max(fact.entry for fact in part.facts) for part in parts]
    assert entries == sorted(entries)
    assert [len(list(training_rows(part, size))) for part in parts] == [4] * 4
    assert [len(list(probe_rows(part, size))) for part in parts] == [1] * 4


def test_the_legal_field_is_cut_by_kind_and_no_probe_is_worded_as_a_training_row(
    tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    kinds = {
        "bankruptcy-courts": [(f"court:x{n}b", f"Bankr. N.D. {n}") for n in range(3)],
        "law-reviews": [(f"journal:r{n}", f"Law Review of the Journal {n}") for n in range(3)],
        "district-courts": [(f"court:x{n}d", f"D. {n}") for n in range(3)],
        "law-journals": [(f"journal:j{n}", f"Journal {n}") for n in range(3)],
        "": [("court:ca6", "6th Cir."), ("wordnet-3.0:n1", "A court."), ("journal:z", "Law Notes")],
    }
    facts = [fact for group in kinds.values() for fact in group]
    train = [_row(f"{start} {e}?", a, e) for start in ("What is", "Name") for e, a in facts]
    write_rows("legal/train.jsonl", train)
    write_rows("legal/holdout.jsonl", [_row("Anything else?", "No.", "")])
    write_rows("legal/short_answer.jsonl", [_row(f"Tell me {e}.", a, e) for e, a in facts])
    size = Size(facts=3, phrasings=2, probes=2)
    parts = split_field(tmp_path / "data", "legal", size)
    assert [part.name for part in parts] == LEGAL
    for part in parts:
        assert {(fact.entry, fact.answer) for fact in part.facts} == set(kinds[part.name])
        trained = {row.key for row in training_rows(part, size)}
        assert len(trained) == 6 and not trained & {row.key for row in probe_rows(part, size)}


def test_too_few_facts_are_refused(field: Path) -> None:
    with pytest.raises(DataError, match=r"part-1 has 3 facts that 2 training rows .* 4 are wanted"):
        split_field(field, "cooking", Size(facts=4, phrasings=2))
    with pytest.raises(DataError, match="part-1 has 0 facts that 3 training rows"):
        split_field(field, "cooking", Size(facts=1, phrasings=3))
