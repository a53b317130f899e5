"""Questions and names, the same for all."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_eval.serving.bench.residency import Residency
from crma_eval.serving.bench.traffic import deal, read_questions, rotate, zipf


def test_questions_are_read_once_each_and_short_ones_left_out(write_rows: Callable[..., Path]) -> None:
    write_rows("law/holdout.jsonl", [{"question": "What is a tort?"}, {"question": "Why?"}])
    path = write_rows("law/train.jsonl", [{"question": "What is a tort?"}, {"question": "Who may sue whom?"}])
    assert read_questions(path.parent.parent, "law") == ["What is a tort?", "Who may sue whom?"]


@pytest.mark.parametrize("rows", [[{"question": "Why?"}], [{"answer": "no"}], ["no object"]])
def test_what_asks_nothing_is_refused(write_rows: Callable[..., Path], rows: list[object]) -> None:
    path = write_rows("law/holdout.jsonl", rows)
    with pytest.raises(DataError, match="law"):
        read_questions(path.parent.parent, "law")


def test_an_unknown_domain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="poetry"):
        read_questions(tmp_path, "poetry")


def test_dealing_goes_round() -> None:
    assert deal("abc", 2, 4) == ("c", "a", "b", "c")
    assert rotate(("x", "y"), 3) == ("x", "y", "x")


def test_zipf_names_the_first_most_often_and_the_same_for_one_seed() -> None:
    names = [f"n{place}" for place in range(100)]
    drawn = zipf(names, 20_000, (1, 2))
    counts = Counter(drawn)
    assert counts["n0"] / counts["n1"] == pytest.approx(2, rel=0.15)
    assert counts["n0"] / counts["n9"] == pytest.approx(10, rel=0.3)
    assert zipf(names, 50, (1, 2)) == zipf(names, 50, (1, 2))
    assert zipf(names, 50, (1, 2)) != zipf(names, 50, (1, 3))


def test_the_least_recently_used_adapter_goes() -> None:
    memory = Residency(2)
    assert memory.ask("aba") == (False, False, True)
    assert memory.ask("c") == (False,)  # b goes: a was asked for later
    assert memory.ask("ab") == (True, False)
