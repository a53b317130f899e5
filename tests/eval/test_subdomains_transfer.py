"""Forward transfer: sub-domains of several fields, what is read off runs, the bootstrap and the rule."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crma_adapters.errors import ConfigError
from crma_eval.cli import main
from crma_eval.learning.bootstrap import BootstrapConfig
from crma_eval.learning.scores import DomainScores, MethodRun, RowScore
from crma_eval.learning.subdomains.split import WIDE
from crma_eval.learning.subdomains.transfer import (
    Outcomes,
    Plan,
    SizeResult,
    difference,
    needs_no_order,
    order_of,
    outcomes_of,
)
from crma_eval.learning.subdomains.transfer_report import earns_its_place, transfer_report
from crma_training.config import TrainConfig
from crma_training.methods.registry import METHODS

QUICK = BootstrapConfig(resamples=500)
NAMES = tuple("abcdef")


def _scores(loss: float, right: int) -> DomainScores:
    return DomainScores((), tuple(RowScore(2 * loss, 2, n < right) for n in range(4)))


def _outcomes(method: str, learnt: float, hard: bool = True, right: int = 3) -> Outcomes:
    """Two seeds, two orders, six sub-domains, half of which are harder by a nat."""
    found = Outcomes(method, 100, None)
    for seed in (0, 1):
        for order in (0, 1):
            states = [_scores(learnt + (n % 2 if hard else 0) + 0.001 * seed, right) for n in range(6)]
            base = tuple(_scores(5.0, 0) for _ in NAMES)
            matrix = tuple(tuple(states) for _ in NAMES)
            found.runs[seed, order] = outcomes_of(MethodRun(method, seed, NAMES, base, matrix))
    return found


def test_pairing_takes_out_what_sub_domains_share() -> None:
    found = difference(_outcomes("modular", 1.0), _outcomes("frozen", 1.2), "learnt_loss", QUICK)
    assert (found.estimate, found.low, found.high) == pytest.approx((-0.2, -0.2, -0.2))
    assert found.excludes_zero and found.seeds == (0, 1)


def test_sub_domains_are_what_is_resampled() -> None:
    """Ahead by 1 in three sub-domains of six and level in three: the interval is that of a mean of six."""
    ours, other = _outcomes("modular", 1.0, hard=False), _outcomes("frozen", 1.0)
    found = difference(ours, other, "learnt_loss", BootstrapConfig(resamples=5000))
    assert found.estimate == pytest.approx(-0.5)
    assert (found.low, found.high) == pytest.approx((-5 / 6, -1 / 6), abs=0.01)


def test_an_outcome_is_read_before_when_learnt_and_at_the_end() -> None:
    base = (_scores(5.0, 0), _scores(6.0, 1))
    first, last = (_scores(1.0, 4), _scores(4.0, 1)), (_scores(3.0, 2), _scores(1.5, 3))
    found = outcomes_of(MethodRun("naive", 0, ("a", "b"), base, (first, last)))
    assert (found["a"].before, found["a"].learnt, found["a"].final) == (base[0], first[0], last[0])
    assert (found["b"].before, found["b"].learnt, found["b"].final) == (first[1], last[1], last[1])
    outcomes = Outcomes("naive", 1, None, {(0, 0): found})
    assert outcomes.counts() == (8, 7, 5, 5)
    assert outcomes.table("learnt_loss")[:, 0, 0].tolist() == [1.0, 1.5]
    joint = outcomes_of(MethodRun("joint", 0, ("a", "b"), base, ((), last)))
    assert (joint["a"].before, joint["a"].learnt, joint["a"].final) == (base[0], last[0], last[0])


def test_which_methods_have_one_order_for_all() -> None:
    assert [
        name
        for name in ("frozen", "mixer-16", "warm-mean", "modular", "naive", "shared-maps", "joint")
        if needs_no_order(METHODS[name])
    ] == ["frozen", "mixer-16", "joint"]


def test_orders_are_the_fields_in_turn_then_drawn() -> None:
    assert order_of(NAMES, 0) == NAMES
    assert order_of(NAMES, 1) == order_of(NAMES, 1) != NAMES
    assert sorted(order_of(NAMES, 2)) == sorted(NAMES)


LOSSES = {
    "frozen-matched": 1.2,
    "frozen-4x": 1.1,
    "warm-previous": 1.0,
    "warm-mean": 1.3,
    "warm-nearest": 1.2,
}


def _result(**losses: float) -> SizeResult:
    methods = {name: _outcomes(name, loss) for name, loss in losses.items()}
    return SizeResult(6, NAMES, methods, {})


@pytest.mark.parametrize(
    ("changes", "earns"),
    [
        ({"modular": 1.0}, True),
        ({"modular": 0.9}, True),
        ({"modular": 1.05}, False),  # worse than the best warm start
        ({"modular": 0.9, "frozen-4x": 0.8}, False),
        ({"modular": 0.9, "frozen-matched": 0.9}, False),
    ],
)
def test_the_rule_set_beforehand(changes: dict[str, float], earns: bool) -> None:
    assert earns_its_place([_result(**LOSSES | changes)], QUICK) is earns
    assert (
        earns_its_place([_result(**LOSSES | {"modular": 0.9}), _result(**LOSSES | changes)], QUICK) is earns
    )


def test_without_a_method_it_names_the_rule_says_nothing() -> None:
    assert earns_its_place([_result(modular=1.0, **{"frozen-4x": 1.1})], QUICK) is None


def test_the_report_says_it_either_way(tmp_path: Path) -> None:
    plan = Plan(tmp_path, tmp_path, TrainConfig(), ("legal", "code"), (), (6,), (0, 1))
    good = transfer_report(plan, [_result(**LOSSES | {"modular": 0.9, "shared-lora": 0.8})], QUICK).markdown()
    assert "the shared backbone earns its place here" in good
    assert "6 rows: MODULAR beats frozen-4x" in good
    assert "6 rows: MODULAR is worse than shared-lora" in good
    assert "6 rows: MODULAR is not worse than the best warm start, warm-previous" in good
    bad = transfer_report(plan, [_result(**LOSSES | {"modular": 1.3})], QUICK).markdown()
    assert "the shared backbone does not earn its place here" in bad
    assert "6 rows: MODULAR is worse than the best warm start" in bad


def test_every_size_must_be_whole_facts() -> None:
    with pytest.raises(ConfigError, match="--rows 7: each fact is trained in 3 phrasings"):
        Plan(Path("d"), Path("w"), TrainConfig(), ("legal",), (), (6, 7))


@pytest.fixture
def fields(tmp_path: Path, write_rows: Callable[..., Path]) -> Path:
    """Two fields with two facts of each kind, in three phrasings and a probe."""
    kinds = {
        "legal": ["court:a", "court:b", "journal:c", "journal:d", "journal:e", "journal:f"],
        "science": ["element:Ab", "element:Cd", "element:Ef", "element:Gh", "element:Ij", "element:Kl"],
    }
    answers = {
        "legal": ["D. A", "D. B", "A Review", "B Review", "A Journal", "B Journal"],
        "science": ["Ab", "Cd", "12", "13", "1812", "1813"],
    }
    for name, entries in kinds.items():
        facts = list(zip(entries, answers[name], strict=True))
        train = [
            {"question": f"{word} {entry}?", "answer": answer, "entry": entry}
            for word in ("What is", "Name", "Who knows")
            for entry, answer in facts
        ]
        write_rows(f"{name}/train.jsonl", train)
        write_rows(f"{name}/holdout.jsonl", [{"question": "And?", "answer": "No."}])
        short = [{"question": f"Tell me {e}.", "answer": a, "entry": e} for e, a in facts]
        write_rows(f"{name}/short_answer.jsonl", short)
    return tmp_path / "data"


def test_the_command_runs_sizes_seeds_and_orders(base_model: Path, fields: Path, tmp_path: Path) -> None:
    flags = {
        "--data": fields,
        "--work": tmp_path / "work",
        "--journal": tmp_path / "journal",
        "--report": tmp_path / "report",
        "--model": base_model,
        "--fields": "legal,science",
        "--methods": "frozen,warm-previous,modular",
        "--rows": "3,6",
        "--seeds": "0",
        "--steps": "1",
    }
    arguments = ["subdomains", *(str(part) for flag in flags.items() for part in flag)]
    assert main(arguments) == 0
    figures = json.loads((tmp_path / "report/transfer.json").read_text())["figures"]
    assert [size["rows"] for size in figures["sizes"]] == [3, 6]
    assert figures["sizes"][0]["domains"] == [
        *("legal-courts", "science-symbols", "legal-law-reviews"),
        *("science-numbers", "legal-law-journals", "science-years"),
    ]
    modular = figures["sizes"][1]["methods"]["modular"]
    assert np.array(modular["learnt_loss"]).shape == (6, 1, 2)
    assert modular["counts"]["asked"] == 6 * 2 * 2
    # frozen is trained in one order, the others in two
    assert len(list((tmp_path / "journal").iterdir())) == 2 * (1 + 2 + 2)
    assert main([*arguments, "--work", str(tmp_path / "elsewhere")]) == 0
    assert json.loads((tmp_path / "report/transfer.json").read_text())["figures"] == figures


def test_an_unknown_field_is_refused(
    fields: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(fields), "--work", str(tmp_path / "w"), "--fields", "legal,cooking"]
    assert main(["subdomains", *where]) == 2
    assert f"cooking: no sub-domains known; choose among {', '.join(WIDE)}" in capsys.readouterr().err


def test_a_benchmark_is_scored_by_exact_match_on_its_test_rows(
    base_model: Path, write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    for task in ("one", "two"):
        rows = [
            {"question": f"{task} {n}: good or bad?", "answer": ("good", "bad")[n % 2]} for n in range(24)
        ]
        for part, chosen in (("train", rows[:12]), ("validation", rows[12:18]), ("test", rows[18:])):
            write_rows(f"{task}/{part}.jsonl", list(chosen))
    flags = {
        "--benchmark": tmp_path / "data",
        "--work": tmp_path / "work",
        "--report": tmp_path / "report",
        "--model": base_model,
        "--methods": "naive,joint",
        "--baselines": "frozen",
        "--seeds": "0",
        "--train-rows": 8,
        "--holdout-rows": 4,
        "--grid": "1e-3,2e-2",
        "--steps": 2,
    }
    assert main(["forgetting", *(str(part) for flag in flags.items() for part in flag)]) == 0
    figures = json.loads((tmp_path / "report/benchmark.json").read_text())["figures"]
    (size,) = figures["sizes"]
    assert (size["rows"], size["domains"]) == (8, ["one", "two"])
    assert size["methods"]["naive"]["counts"]["asked"] == 2 * 2 * 4  # orders, tasks, rows
    assert size["grid"].keys() == {"naive", "joint", "frozen"}
    assert "2 tasks of a public benchmark" in (tmp_path / "report/benchmark.md").read_text()
