"""The folder is written whole, only where it may be."""

import json
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_training.demo_data.packages import CURRENCIES
from crma_training.demo_data.rows import FieldQuery, Query, Row
from crma_training.demo_data.sides import DemoQueries, RouterQueries
from crma_training.demo_data.split import DomainRows
from crma_training.demo_data.write import DemoData, write


def small_data(answer: str) -> DemoData:
    row = Row("What is the currency of Japan?", answer, CURRENCIES.source, "ISO4217:JPY", "public domain")
    query = Query("hi", "crma", "small-talk:0", "Apache-2.0")
    return DemoData(
        domains={"financial": DomainRows([row], [row], [row])},
        queries=DemoQueries(
            {"financial": RouterQueries([query], []), "out_of_domain": RouterQueries([query], [query])},
            near=[FieldQuery("How do I train a dog?", "crma", "near:0", "Apache-2.0", "veterinary")],
            far=[],
        ),
        packages=(CURRENCIES,),
    )


def test_writes_files_and_a_manifest_that_counts_them(tmp_path: Path) -> None:
    counts = write(small_data("Yen"), tmp_path / "demo")

    manifest = json.loads((tmp_path / "demo/manifest.json").read_text("utf-8"))
    assert manifest["format"] == 1
    assert manifest["domains"]["financial"]["counts"] == counts["financial"]
    assert manifest["domains"]["financial"]["licences"] == ["Apache-2.0", "public domain"]
    assert manifest["packages"][0]["sha256"] == CURRENCIES.sha256
    lines = (tmp_path / "demo/financial/train.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[0])["answer"] == "Yen"
    near = (tmp_path / "demo/out_of_domain/near.jsonl").read_text("utf-8")
    assert json.loads(near)["field"] == "veterinary"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo"]


def test_an_earlier_build_is_replaced_whole(tmp_path: Path) -> None:
    write(small_data("Yen"), tmp_path)
    (tmp_path / "stale.jsonl").write_text("{}")
    write(small_data("Renminbi"), tmp_path)

    assert "Renminbi" in (tmp_path / "financial/train.jsonl").read_text("utf-8")
    assert not (tmp_path / "stale.jsonl").exists()


@pytest.mark.parametrize("content", ["not json", "[]", '{"format": 1}'])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(DataError, match="not an earlier demo-data folder"):
        write(small_data("Yen"), tmp_path)
    assert (tmp_path / "manifest.json").read_text() == content


def test_a_file_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "demo"
    target.write_text("mine")

    with pytest.raises(DataError, match="is a file"):
        write(small_data("Yen"), target)


def test_a_path_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(DataError, match=r"cannot write .*/file/demo: "):
        write(small_data("Yen"), tmp_path / "file" / "demo")
