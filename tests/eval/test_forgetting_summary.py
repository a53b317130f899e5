"""The whole report from made-up runs: tables, words, JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_eval.learning.bootstrap import BootstrapConfig
from crma_eval.learning.scores import MethodRun
from crma_eval.learning.summary import forgetting_report, write_report

if TYPE_CHECKING:
    from tests.eval.conftest import RunMaker

QUICK = BootstrapConfig(resamples=200)
MODULAR = [[2.0, 4.0, 4.0], [2.0, 1.0, 4.0], [2.02, 1.01, 2.0]]
NAIVE = [[2.0, 4.0, 4.0], [2.5, 1.0, 4.0], [3.0, 1.2, 2.0]]
FROZEN = [[2.2, 4.0, 4.0], [2.2, 1.1, 4.0], [2.2, 1.1, 2.2]]
RIGHT = [[0.8, 0.1, 0.1], [0.7, 0.9, 0.1], [0.6, 0.8, 0.7]]


def scaled(losses: list[list[float]], last: float) -> list[list[float]]:
    return [*losses[:-1], [loss * last for loss in losses[-1]]]


def table_row(text: str, start: str, table: int = 0) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {start} ")]
    return [cell.strip() for cell in lines[table].strip("|").split("|")]


@pytest.fixture
def runs(maker: RunMaker) -> list[MethodRun]:
    found = []
    for seed, last in ((0, 1.0), (42, 1.02), (1234, 1.04)):
        found += [
            maker.run(scaled(NAIVE, last), RIGHT, "naive", seed),
            maker.run(MODULAR, RIGHT, "modular", seed),
            maker.run(FROZEN, RIGHT, "frozen", seed),
        ]
    joint: list[list[float]] = [[], [], [1.9, 0.9, 1.9]]
    found.append(maker.run(joint, [[], [], [0.9, 0.9, 0.9]], "joint", 0))
    return [*found, maker.run(NAIVE, RIGHT, "ewc", 0)]


def test_the_main_table_has_a_row_per_domain_and_a_column_per_main_method(runs: list[MethodRun]) -> None:
    report = forgetting_report(runs, {}, QUICK)
    assert report.header == ("domain", "MODULAR drift, %", "FROZEN drift, %", "NAIVE drift, %")
    assert report.rows == (
        ("a", "+1.00 ± 0.00", "+0.00 ± 0.00", "+53.00 ± 3.00"),
        ("b", "+1.00 ± 0.00", "+0.00 ± 0.00", "+22.40 ± 2.40"),
        ("c (last)", "–", "–", "–"),
        (
            "**mean of the earlier domains**",
            "**+1.00 ± 0.00**",
            "**+0.00 ± 0.00**",
            "**+37.70 ± 2.70**",
        ),
    )


def test_the_words_below_it(runs: list[MethodRun]) -> None:
    text = forgetting_report(runs, {}, QUICK).markdown()
    assert "**MODULAR drifts less than NAIVE here.** NAIVE drifts +37.70 %, MODULAR +1.00 %" in text
    assert "FROZEN's drift is 0 by construction" in text
    assert "MODULAR learns the domains at a lower loss than FROZEN" in text
    assert text.index("MODULAR drifts less") < text.index("## Drift seed by seed")


def test_the_opposite_finding_is_worded_too(maker: RunMaker) -> None:
    runs = [maker.run(MODULAR, method="naive", seed=seed) for seed in (0, 42, 1234)]
    runs += [maker.run(scaled(NAIVE, 1 + seed / 1e5), seed=seed) for seed in (0, 42, 1234)]
    text = forgetting_report(runs, {}, QUICK).markdown()
    assert "**The contrary of the claim: MODULAR drifts more than NAIVE here.**" in text
    assert "drifts less" not in text and "MODULAR does forget" in text


def test_every_seed_with_its_range(runs: list[MethodRun]) -> None:
    text = forgetting_report(runs, {}, QUICK).markdown()
    assert table_row(text, "NAIVE")[:6] == [
        "NAIVE",
        "+35.00",
        "+37.70",
        "+40.40",
        "+35.00 to +40.40",
        "disjoint, higher",
    ]
    assert table_row(text, "ewc")[:6] == ["ewc", "+35.00", "–", "–", "–", "–"]
    assert table_row(text, "FROZEN")[5] == "disjoint, lower"


def test_every_method_with_single_seeds_marked(runs: list[MethodRun]) -> None:
    text = forgetting_report(runs, {"trainable_parameters": {"naive": 12345}}, QUICK).markdown()
    assert table_row(text, "NAIVE", 1) == [
        *("NAIVE", "3", "+37.70 ± 2.70", "2.1080 ± 0.0413", "70.0 ± 0.0", "-15.0 ± 0.0", "+15.0 ± 0.0"),
        *("+10.0 ± 0.0", "+0.1533 ± 0.0133", "+8.48 ± 0.61", "12,345"),
    ]
    joint = table_row(text, "joint")
    assert joint == ["joint", "1", "–", "1.5667 †", "90.0 †", *["–"] * 6]
    assert "† one seed" in text


def test_every_method_is_compared_with_modular(runs: list[MethodRun]) -> None:
    text = forgetting_report(runs, {}, QUICK).markdown()
    naive = table_row(text, "NAIVE − MODULAR")
    assert naive[1] == "3" and naive[2].startswith("+36.70 [") and naive[2].endswith("] (100 %)")
    assert table_row(text, "ewc − MODULAR")[1] == "1 †"
    assert table_row(text, "joint − MODULAR")[2:4] == ["–", "–"]
    assert "MODULAR − MODULAR" not in text


def test_without_modular_there_is_still_a_report(maker: RunMaker) -> None:
    text = forgetting_report([maker.run(NAIVE, method="ewc")], {}, QUICK).markdown()
    assert table_row(text, "a") == ["a", "+50.00 †"]
    assert "Paired bootstrap" not in text


def test_validation_figures_are_marked(runs: list[MethodRun]) -> None:
    assert "not the figures to quote" in forgetting_report(runs, {"split": "validation"}, QUICK).markdown()
    assert "not the figures to quote" not in forgetting_report(runs, {"split": "holdout"}, QUICK).markdown()


def test_the_files_hold_every_figure_and_no_rows(
    maker: RunMaker, runs: list[MethodRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = replace(maker.run(MODULAR, method="o-lora"), domains=runs[0].domains)  # no short answers
    write_report([*runs, silent], {"rows": {"train": 5}}, tmp_path)
    assert "# Forgetting over 3 domains, 5 training rows each: a, b, c" in capsys.readouterr().out
    names = {path.name for path in tmp_path.iterdir()}
    assert {"forgetting.json", "forgetting.md", "forgetting-drift.png", "forgetting-loss.png"} <= names
    text = (tmp_path / "forgetting.json").read_text()
    assert "NaN" not in text and "exact" not in text
    figures = json.loads(text)["figures"]
    assert figures["protocol"] == {"rows": {"train": 5}} and figures["domains"] == ["a", "b", "c"]
    naive = figures["methods"]["naive"]
    assert naive["drift"]["values"] == pytest.approx([0.35, 0.377, 0.404])
    assert naive["runs"][0]["matrix"][2]["loss"] == NAIVE[2]
    assert naive["runs"][0]["matrix"][2]["accuracy"] == RIGHT[2]
    assert naive["runs"][0]["base"]["loss"] == [4.0, 4.0, 4.0]
    assert figures["methods"]["joint"]["runs"][0]["matrix"][0] == {"loss": [], "accuracy": []}
    assert figures["methods"]["o-lora"]["runs"][0]["matrix"][0]["accuracy"] == [None] * 3
    difference = figures["bootstrap"]["differences"]["naive"]
    assert difference["disjoint"] is True and difference["drift"]["estimate"] == pytest.approx(0.367)
    assert figures["bootstrap"]["own_drift"]["modular"]["estimate"] == pytest.approx(0.01)


def test_printing_alone_writes_nothing(
    runs: list[MethodRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(runs, {}, None)
    assert list(tmp_path.iterdir()) == []
