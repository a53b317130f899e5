"""Finished cells kept as files: read back, shared, damaged, and what another run makes of them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_eval.cli import main
from crma_eval.learning.journal import CellResult, Journal, StageCost
from crma_eval.learning.protocol import Cell, Experiment
from crma_eval.learning.scores import DomainScores, MethodRun, RowScore
from crma_eval.learning.setup import Protocol, Sizes
from crma_training.config import TrainConfig
from crma_training.methods.plain import Joint, Naive

IDENTITY = {
    "name": "naive",
    "seed": 3,
    "recipe": {"learning_rate": 1e-3, "crma_learning_rate": 2e-3, "target_modules": ("a", "b")},
}


def _scores(*losses: float, exact: bool = False) -> DomainScores:
    return DomainScores(
        tuple(RowScore(loss, 2 + n, False) for n, loss in enumerate(losses)), (RowScore(0.5, 4, exact),)
    )


def _result() -> CellResult:
    base, learnt = _scores(4.0, 5.123456789), _scores(1.0, 2.0, exact=True)
    run = MethodRun("naive", 3, ("a", "b"), (base, base), ((learnt, base), (), (learnt, learnt)))
    return CellResult(run, IDENTITY, 12, (StageCost(2, 100, 4.0), StageCost(2, 100, 6.0)), "abc")


def test_a_cell_is_read_as_it_was_kept_but_for_the_seventh_digit(tmp_path: Path) -> None:
    kept = Journal(tmp_path).keep(_result())
    assert Journal(tmp_path).find(IDENTITY) == kept
    assert kept.run.base[0].holdout[1] == RowScore(5.12346, 3, False)
    assert kept.run.matrix[1] == () and kept.run.final == _result().run.final
    assert (kept.parameters, kept.tokens_per_s, kept.learning_rates) == (12, 20.0, (1e-3, 2e-3))


def test_another_identity_is_another_cell(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.keep(_result())
    assert journal.find(IDENTITY | {"seed": 4}) is None
    assert journal.find(IDENTITY | {"recipe": {"learning_rate": 2e-3}}) is None


def test_damage_is_said_and_the_cell_run_again(tmp_path: Path) -> None:
    said: list[str] = []
    journal = Journal(tmp_path, said.append)
    journal.keep(_result())
    (path,) = tmp_path.iterdir()
    whole = path.read_text()
    for damaged in (whole.replace("5.12346", "0.12346"), whole[:50], "[]", "{}"):
        path.write_text(damaged)
        assert journal.find(IDENTITY) is None
    assert len(said) == 4 and all("damaged" in line and str(path) in line for line in said)
    path.write_text(whole)
    assert journal.find(IDENTITY) is not None


@pytest.fixture
def make(base_model: Path, data_folder: Path, tmp_path: Path) -> Callable[..., Experiment]:
    """Experiments with one journal, each in the work folder it is given."""

    def experiment(work: str, sizes: Sizes | None = None, **changes: object) -> Experiment:
        config = TrainConfig(model=str(base_model), steps=2, batch_size=4)
        config = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
        protocol = Protocol(data_folder, config, sizes or Sizes(8, 4, 0), ("legal", "code"))
        return Experiment(protocol, tmp_path / work, journal=tmp_path / "journal")

    return experiment


def test_a_finished_cell_is_not_trained_again_in_another_work_folder(
    make: Callable[..., Experiment], tmp_path: Path
) -> None:
    first = make("one").result(Cell(Naive(), 0))
    learnt: list[str] = []
    assert make("two").result(Cell(Naive(), 0), learnt.append) == first
    assert learnt == ["legal", "code"] and not (tmp_path / "two").exists()
    assert [cost.steps for cost in first.costs] == [2, 2] and first.tokens_per_s
    assert len(make("two").result(Cell(Joint(), 0)).costs) == 1


@pytest.mark.parametrize("changes", [{"learning_rate": 5e-3}, {"steps": 3}, {"sizes": Sizes(8, 3, 0)}])
def test_other_settings_are_trained(
    make: Callable[..., Experiment], changes: dict[str, object], tmp_path: Path
) -> None:
    first = make("one").result(Cell(Naive(), 0))
    assert make("two", **changes).result(Cell(Naive(), 0)).run != first.run
    assert len(list((tmp_path / "journal").iterdir())) == 2


def test_options_that_decide_nothing_do_not_matter(make: Callable[..., Experiment], tmp_path: Path) -> None:
    make("one").result(Cell(Naive(), 0))
    make("two", consolidation_epochs=9, note="again", holdout_every=1).result(Cell(Naive(), 0))
    assert not (tmp_path / "two").exists()


def test_the_command_reports_from_the_journal_alone(
    base_model: Path, data_folder: Path, tmp_path: Path
) -> None:
    def report(work: str) -> dict[str, object]:
        flags = {
            "--data": data_folder,
            "--work": tmp_path / work,
            "--journal": tmp_path / "journal",
            "--report": tmp_path / f"report-{work}",
            "--model": base_model,
            "--methods": "naive,frozen",
            "--seeds": "0",
            "--domains": "legal,code",
            "--train-rows": 8,
            "--holdout-rows": 4,
            "--short-answer-rows": 0,
            "--steps": 2,
            "--batch-size": 4,
        }
        assert (
            main(["forgetting", *(str(part) for flag in flags.items() for part in flag), "--no-routed"]) == 0
        )
        found: dict[str, object] = json.loads((tmp_path / f"report-{work}/forgetting.json").read_text())[
            "figures"
        ]
        return found

    assert report("one") == report("two")
    assert not (tmp_path / "two").exists()
