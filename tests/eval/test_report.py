import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from crma_eval.report import Image, Report, Section, _commit, _cpu_model, markdown_table, provenance

ROOT = Path(__file__).parent


def _report(sections: tuple[Section, ...] = ()) -> Report:
    return Report("trial", "A trial", ("a", "b"), (("1", "22"),), {"x": 1}, ("Said below.",), sections)


def test_a_report_without_sections_is_a_title_a_table_and_remarks() -> None:
    expected = "# A trial\n\n| a | b  |\n| - | -- |\n| 1 | 22 |\n\nSaid below.\n\n## How this"
    assert _report().markdown().startswith(expected)


def test_sections_follow_in_order_before_the_provenance() -> None:
    image = Image("dots.png", "Some dots", lambda path: path.touch())
    sections = (
        Section("Second table", ("c",), (("3",),)),
        Section("Plots", remarks=("Look.",), images=(image,)),
    )
    text = _report(sections=sections).markdown()
    assert "Said below.\n\n## Second table\n\n| c |\n| - |\n| 3 |\n\n## Plots\n\nLook.\n\n" in text
    assert "![Some dots](dots.png)\n\n## How this was made" in text


def test_write_puts_figures_text_and_plots_into_one_folder(tmp_path: Path) -> None:
    def draw(path: Path) -> None:
        path.write_text("drawn")

    image = Image("dots.png", "Some dots", draw)
    report = _report(sections=(Section("Plots", images=(image,)),))
    report.write(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"trial.json", "trial.md", "dots.png"}
    assert (tmp_path / "new" / "dots.png").read_text() == "drawn"
    document = json.loads((tmp_path / "new" / "trial.json").read_text())
    assert document["title"] == "A trial" and document["figures"] == {"x": 1}
    assert document["provenance"].keys() == {"command", "commit", "python", "packages", "machine"}


def test_the_command_is_as_typed_without_the_programs_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/crma-eval", "forgetting", "--data", "a b"])
    assert provenance()["command"] == "crma-eval forgetting --data 'a b'"


def test_the_command_names_no_folder_outside_the_working_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = [
        "--run",
        "/home/me/runs/third",
        f"--report={tmp_path}/out",
        "--data",
        "some/data",
        "--url=http://x/y",
    ]
    monkeypatch.setattr("sys.argv", ["crma-eval", *typed])
    expected = "crma-eval --run third --report=out --data some/data --url=http://x/y"
    assert provenance()["command"] == expected


def test_torch_threads_are_told_only_where_torch_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 7))
    assert provenance()["machine"].endswith("CPU cores, 7 torch threads")
    monkeypatch.delitem(sys.modules, "torch")
    assert "torch" not in provenance()["machine"]


def test_the_processors_name_is_read_and_may_be_missing(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: ACME 9000: fast\n\nprocessor\t: 1\nmodel name\t: other\n"
    )
    assert _cpu_model(cpuinfo) == "ACME 9000: fast"
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert _cpu_model(cpuinfo) == ""
    assert _cpu_model(tmp_path / "absent") == ""


def test_a_table_is_aligned() -> None:
    table = "| x    | long |\n| ---- | ---- |\n| 1234 | 5    |"
    assert markdown_table(("x", "long"), (("1234", "5"),)) == table


def test_what_it_was_made_from_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "medical").mkdir()
    rows = tmp_path / "medical" / "train.jsonl"
    rows.write_text("{}\n")
    first = provenance({"data": tmp_path, "seeds": (0, 42)})
    assert first["seeds"] == "0, 42"
    assert first == provenance({"data": str(tmp_path), "seeds": [0, 42]})
    rows.write_text("[]\n")
    assert provenance({"data": tmp_path})["data"] != first["data"]
    assert "data" not in provenance({"data": tmp_path / "absent"}) and "seeds" not in provenance({})
    monkeypatch.setattr("sys.argv", ["crma-eval", "forgetting", f"--data={tmp_path}", "--seed", "7"])
    assert provenance()["seeds"] == "7" and provenance()["data"] == provenance({"data": tmp_path})["data"]


def test_the_commit_is_that_of_the_code(tmp_path: Path) -> None:
    assert _commit(tmp_path) == "not a checkout"
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False)
    if head.returncode == 0:
        assert head.stdout.startswith(_commit().removesuffix(", with changes"))
