"""Dataset folders: forms, order, splits, leaks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import DataError, StoreError
from crma_training.data.dataset import load_dataset

WriteRows = Callable[..., Path]


def rows(*questions: str) -> list[object]:
    return [{"question": question, "answer": "a"} for question in questions]


def test_the_folder_form_is_read_in_the_manifests_order(data_folder: Path, write_rows: WriteRows) -> None:
    write_rows("legal/router_train.jsonl", [{"question": "may I sue?"}])
    write_rows("out_of_domain/router_train.jsonl", [{"question": "who won?"}])
    manifest = {
        "format": 1,
        "domains": {"medical": {}, "legal": {}, "financial": {}, "code": {}, "out_of_domain": {}},
    }
    (data_folder / "manifest.json").write_text(json.dumps(manifest))
    data = load_dataset(data_folder)
    assert [domain.name for domain in data.domains] == ["medical", "legal", "financial", "code"]
    assert [len(data.domains[0].train), len(data.domains[0].holdout)] == [20, 4]
    assert data.domains[1].questions[-1] == "may I sue?"
    assert data.out_of_domain == ("who won?",)


def test_named_domains_come_in_the_order_given_and_others_are_not_read(
    data_folder: Path, write_rows: WriteRows
) -> None:
    write_rows("medical/train.jsonl", [])
    assert [domain.name for domain in load_dataset(data_folder, ["legal", "code"]).domains] == [
        "legal",
        "code",
    ]


def test_the_short_form_holds_out_a_tenth_that_other_rows_do_not_move(
    tmp_path: Path, write_rows: WriteRows
) -> None:
    write_rows("zoology.jsonl", rows(*(f"question {number}" for number in range(30))))
    (domain,) = load_dataset(tmp_path / "data").domains
    assert (len(domain.train), len(domain.holdout)) == (27, 3)
    again = load_dataset(tmp_path / "data").domains[0]
    assert again.holdout == domain.holdout


@given(st.lists(st.integers(0, 30), min_size=2, max_size=60).filter(lambda numbers: len(set(numbers)) > 1))
def test_a_split_never_puts_a_question_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("split")
    content = "\n".join(json.dumps({"question": f"Question {n}", "answer": "a"}) for n in numbers)
    (folder / "maths.jsonl").write_text(content)
    (domain,) = load_dataset(folder).domains
    assert {row.key for row in domain.train}.isdisjoint(row.key for row in domain.holdout)
    assert domain.train
    assert domain.holdout
    assert len(domain.train) + len(domain.holdout) == len(numbers)


def test_a_question_in_train_and_holdout_is_a_leak(data_folder: Path, write_rows: WriteRows) -> None:
    path = write_rows("code/holdout.jsonl", [*rows("new"), *rows("what IS  a loop?")])
    with pytest.raises(
        DataError, match=rf"{path}:2: this holdout question is also trained on .*train\.jsonl:1"
    ):
        load_dataset(data_folder)


def test_the_digest_changes_with_the_content_only(data_folder: Path, write_rows: WriteRows) -> None:
    first = load_dataset(data_folder).sha256
    assert load_dataset(data_folder.rename(data_folder.with_name("moved"))).sha256 == first
    (data_folder.with_name("moved")).rename(data_folder)
    write_rows("code/holdout.jsonl", rows("something else?"))
    assert load_dataset(data_folder).sha256 != first


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["medical", "cooking"], "unknown domain cooking; it has code, financial, legal, medical"),
        (["medical", "medical"], "names one twice: medical,medical"),
    ],
)
def test_domains_that_cannot_be_trained(data_folder: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(data_folder, names)


def test_a_folder_that_is_no_dataset(tmp_path: Path, write_rows: WriteRows) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_dataset(tmp_path / "data")
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="no domains; expected"):
        load_dataset(tmp_path / "data")
    write_rows("only.jsonl", rows("one question", "one  question"))
    with pytest.raises(DataError, match=r"only\.jsonl: one distinct question"):
        load_dataset(tmp_path / "data")


def test_a_manifest_must_fit_the_folder(data_folder: Path) -> None:
    (data_folder / "manifest.json").write_text('{"domains": {"cooking": {}}}')
    with pytest.raises(DataError, match=r"manifest\.json lists cooking, which is not there"):
        load_dataset(data_folder)
    (data_folder / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="not a dataset manifest"):
        load_dataset(data_folder)


def test_a_domain_without_holdout_or_with_a_reserved_name_is_refused(
    tmp_path: Path, write_rows: WriteRows
) -> None:
    write_rows("code/train.jsonl", rows("a"))
    with pytest.raises(DataError, match=r"code/holdout\.jsonl: cannot be read"):
        load_dataset(tmp_path / "data")
    write_rows("base.jsonl", rows("a", "b"))
    with pytest.raises(StoreError, match="'base'"):
        load_dataset(tmp_path / "data", ["base"])
