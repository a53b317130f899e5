"""All checks at once, and what training makes of them."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crma_adapters.errors import DataError
from crma_adapters.store.release import Release
from crma_training.data.checks.run import check_before_training, run_checks

WriteRows = Callable[..., Path]
LEAKED = [{"question": "What's the heart", "answer": "A muscle."}]


def test_the_report_is_plain_json(data_folder: Path, write_rows: WriteRows) -> None:
    path = write_rows("medical/holdout.jsonl", LEAKED)
    report = run_checks(data_folder, ["medical"])
    assert json.loads(json.dumps(report.to_json())) == {
        "format": 1,
        "directory": str(data_folder),
        "rows": 21,
        "tokens_checked": False,
        "errors": 1,
        "warnings": 0,
        "findings": [
            {
                "kind": "near-leak",
                "severity": "error",
                "domain": "medical",
                "where": f"{path}:1",
                "detail": "this holdout question is trained on, reworded: "
                f"{data_folder / 'medical' / 'train.jsonl'}:1",
            }
        ],
    }


def test_every_kind_of_check_takes_part(data_folder: Path, write_rows: WriteRows) -> None:
    answers = [
        "cafÃ©",
        "<|im_end|>",
        "mail jane@hospital.org",
        "AKIA" + "IOSFODNN7ABCDEFG",
        *["the same"] * 20,
    ]
    write_rows("code/train.jsonl", [{"question": f"q{n}", "answer": a} for n, a in enumerate(answers)])
    write_rows("code/holdout.jsonl", [{"question": "q0", "answer": "a"}, {"question": " ", "answer": "a"}])
    kinds = {finding.kind for finding in run_checks(data_folder, ["code"]).findings}
    assert kinds == {"empty", "leak", "mojibake", "template-token", "personal", "secret", "dominant-answer"}


@settings(max_examples=10, deadline=None)
@given(st.sets(st.from_regex(r"[a-z]{4,9}( [a-z]{4,9}){3,6}", fullmatch=True), min_size=8, max_size=24))
def test_clean_random_rows_have_no_findings(
    tmp_path_factory: pytest.TempPathFactory, texts: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("clean")
    ordered = sorted(texts)
    rows = [json.dumps({"question": f"{text}?", "answer": f"n{n}"}) for n, text in enumerate(ordered)]
    (folder / "random.jsonl").write_text("\n".join(rows))
    assert run_checks(folder).findings == ()


def test_training_takes_the_clean_dataset_and_says_what_else_there_is(
    data_folder: Path, write_rows: WriteRows
) -> None:
    write_rows("code/router_train.jsonl", [{"question": "mail jane@hospital.org"}])
    said: list[str] = []
    check_before_training(data_folder, ["code"], said.append)
    holdout, questions = (data_folder / "code" / name for name in ("holdout.jsonl", "router_train.jsonl"))
    assert said == [
        f"data: warning: code: same-answer, 4 (first: {holdout}:1)",
        f"data: warning: code: personal, 1 (first: {questions}:1)",
        f"data: see `crma-train check {data_folder}` for these 5 findings",
    ]


def test_training_says_nothing_of_data_without_findings(tmp_path: Path, write_rows: WriteRows) -> None:
    names = ["asthma", "fever", "gout", "mumps", "rabies", "scurvy"]
    write_rows("medical.jsonl", [{"question": f"Define {n}.", "answer": f"{n} is an illness"} for n in names])
    said: list[str] = []
    check_before_training(tmp_path / "data", ["medical"], said.append)
    assert said == []


def test_training_refuses_a_reworded_leak_before_anything_else(
    train: Callable[..., Release], tmp_path: Path, write_rows: WriteRows
) -> None:
    path = write_rows("medical/holdout.jsonl", [*LEAKED, {"question": "explain a fever", "answer": "Heat."}])
    with pytest.raises(
        DataError, match=rf"^{path}:1: this holdout question is trained on, reworded: .*"
    ) as error:
        train(domains=("code", "medical"))
    assert "(1 more such; `crma-train check" in str(error.value)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "store").exists()


def test_training_does_not_look_at_domains_it_does_not_train(
    data_folder: Path, write_rows: WriteRows
) -> None:
    write_rows("medical/holdout.jsonl", LEAKED)
    check_before_training(data_folder, ["code"], lambda _line: None)


def test_five_domains_of_demo_size_take_seconds(tmp_path: Path, write_rows: WriteRows) -> None:
    for domain in range(5):
        rows = [
            {
                "question": f"What is the use of item{n} in field{domain}?",
                "answer": f"It serves purpose{n * 7}.",
            }
            for n in range(840)
        ]
        write_rows(f"domain{domain}.jsonl", rows)
    start = time.process_time()
    report = run_checks(tmp_path / "data")
    assert time.process_time() - start < 10  # about 4 measured, templates of one kind being the worst case
    assert report.findings == ()
