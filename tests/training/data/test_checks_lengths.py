"""Rows against `--max-length`, counted by a real tokenizer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import BaseModelError
from crma_training.data.checks.finding import Finding
from crma_training.data.checks.lengths import TokenCounter, check_lengths, load_token_counter
from crma_training.data.checks.record import read_folder

WriteRows = Callable[..., Path]


@pytest.fixture
def counter(base_model: Path) -> TokenCounter:
    return load_token_counter(str(base_model), 100)


def found(folder: Path, counter: TokenCounter) -> list[tuple[str, str, str]]:
    findings: list[Finding] = list(check_lengths(read_folder(folder).records, counter))
    return [(f.kind, f.severity, "/".join(Path(f.where).parts[-2:])) for f in findings]


def test_what_training_refuses_is_an_error_and_what_it_cuts_a_warning(
    data_folder: Path, write_rows: WriteRows, counter: TokenCounter
) -> None:
    assert found(data_folder, counter) == []
    rows = [
        {"question": "short", "answer": "short"},
        {"question": "why " * 100, "answer": "short"},
        {"question": "short", "answer": "so " * 100},
    ]
    write_rows("code/holdout.jsonl", rows)
    write_rows("code/short_answer.jsonl", rows)
    write_rows("code/router_eval.jsonl", rows)
    assert found(data_folder, counter) == [
        ("over-long", "error", "code/holdout.jsonl:2"),
        ("cut-answer", "warning", "code/holdout.jsonl:3"),
    ]


def test_a_row_the_chat_template_refuses_is_an_error(data_folder: Path, counter: TokenCounter) -> None:
    counter.chat.tokenizer.chat_template = "{{ raise_exception('no such role') }}"
    kinds = [(kind, severity) for kind, severity, _ in found(data_folder, counter)]
    assert kinds == [("chat-template", "error")] * 96


def test_a_model_that_is_not_to_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="cannot read"):
        load_token_counter(str(tmp_path), 100)
