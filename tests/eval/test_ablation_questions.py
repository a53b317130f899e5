from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError, DataError
from crma_eval.learning.ablation.questions import ShortQuestion, draw

WriteRows = Callable[..., Path]


@pytest.fixture
def data(data_folder: Path, write_rows: WriteRows) -> Path:
    for domain in ("medical", "legal", "code"):
        rows = [{"question": f"{domain} question {n}", "answer": f"answer {n}"} for n in range(10)]
        write_rows(f"{domain}/short_answer.jsonl", rows)
    return data_folder


def test_evenly_spaced_and_evenly_shared(data: Path) -> None:
    drawn = draw(data, ["medical", "legal", "code"], 13)
    assert [q.domain for q in drawn] == 5 * ["medical"] + 4 * ["legal"] + 4 * ["code"]
    assert [q.gold for q in drawn[:5]] == [f"answer {n}" for n in (0, 2, 4, 6, 8)]
    assert [q.gold for q in drawn[5:9]] == [f"answer {n}" for n in (0, 2, 5, 7)]
    assert drawn[0] == ShortQuestion("medical", "medical question 0", "answer 0")


def test_refuses_what_cannot_be_drawn(data: Path) -> None:
    with pytest.raises(DataError, match=r"has 10 rows, 11 are asked for; lower --questions"):
        draw(data, ["medical"], 11)
    with pytest.raises(ConfigError, match="at least one per domain"):
        draw(data, ["medical", "legal"], 1)
    with pytest.raises(DataError, match=r"financial/short_answer.jsonl: cannot be read"):
        draw(data, ["financial"], 1)


def test_refuses_a_question_that_was_trained_on(data: Path, write_rows: WriteRows) -> None:
    path = write_rows("legal/short_answer.jsonl", [{"question": "what is  A Court?", "answer": "x"}])
    with pytest.raises(DataError, match=rf"{path}:1: .* is also trained on \(.*train.jsonl:1\)"):
        draw(data, ["legal"], 1)


def test_refuses_a_question_asked_twice(data: Path, write_rows: WriteRows) -> None:
    row = {"question": "Who?", "answer": "x"}
    path = write_rows("legal/short_answer.jsonl", [row, row])
    with pytest.raises(DataError, match=rf"{path}:2: .* is asked twice"):
        draw(data, ["legal"], 1)
