"""Methods, seeds and domains on the tiny model: what is trained, kept, resumed and refused."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError, DataError, TrainingError
from crma_eval.cli import main
from crma_eval.learning.protocol import Cell, Experiment
from crma_eval.learning.routed import routed_run, routes_matter
from crma_eval.learning.scores import MethodRun
from crma_eval.learning.setup import Protocol, Sizes
from crma_eval.learning.statistics import run_statistics
from crma_router.policy import RoutingDecision
from crma_training.config import TrainConfig
from crma_training.methods.method import Lesson
from crma_training.methods.per_domain import FROZEN
from crma_training.methods.plain import Joint, Naive
from crma_training.methods.registry import METHODS

Make = Callable[..., Experiment]
SIZES = Sizes(train=16, holdout=4, short_answer=0)


@pytest.fixture
def make(base_model: Path, data_folder: Path, tmp_path: Path) -> Make:
    """Experiments on the tiny model, in one work folder."""

    def experiment(
        said: list[str] | None = None, sizes: Sizes = SIZES, domains: tuple[str, ...] = ("legal", "code")
    ) -> Experiment:
        config = TrainConfig(model=str(base_model), steps=3, batch_size=4, learning_rate=1e-2)
        protocol = Protocol(data_folder, config, sizes, domains)
        heard: list[str] = [] if said is None else said
        return Experiment(protocol, tmp_path / "work", say=heard.append)

    return experiment


def ignore(_domain: str) -> None:
    pass


def test_one_lora_for_all_forgets_and_one_per_domain_does_not(make: Make) -> None:
    experiment = make()
    naive = experiment.run(Cell(Naive(), 0), ignore)
    frozen = experiment.run(Cell(FROZEN, 0), ignore)
    assert naive.domains == ("legal", "code")
    assert naive.base == frozen.base
    assert naive.matrix[0] != naive.matrix[1]
    assert frozen.matrix[1][0] == frozen.matrix[0][0]
    assert frozen.matrix[0][1] == frozen.base[1]
    # the first domain is the same work in both methods
    assert naive.matrix[0][0] == frozen.matrix[0][0]
    assert naive.matrix[0][0].loss < naive.base[0].loss


@pytest.mark.parametrize("name", ["modular", "frozen-matched", "modular-frozen-after-1"])
def test_every_cell_of_the_matrix_is_measured(make: Make, name: str) -> None:
    run = make().run(Cell(METHODS[name], 42), ignore)
    assert run.seed == 42
    assert [len(stage) for stage in run.matrix] == [2, 2]
    assert all(len(scores.holdout) == 4 for stage in run.matrix for scores in stage)


def test_joint_training_has_the_last_stage_only(make: Make) -> None:
    run = make().run(Cell(Joint(), 0), ignore)
    assert run.matrix[0] == ()
    assert len(run.final) == 2


def test_a_stopped_run_goes_on_and_ends_the_same(make: Make, tmp_path: Path) -> None:
    whole = make().run(Cell(Naive(), 0), ignore)
    (tmp_path / "work").rename(tmp_path / "elsewhere")

    def stop(_domain: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().run(Cell(Naive(), 0), stop)

    learnt: list[str] = []

    class Watched(Naive):
        def learn(self, lesson: Lesson, folder: Path) -> None:
            learnt.append(lesson.task.name)
            super().learn(lesson, folder)

    assert make().run(Cell(Watched(), 0), ignore) == whole
    assert learnt == ["code"]


def test_a_damaged_measurement_is_seen_and_made_again(make: Make, tmp_path: Path) -> None:
    whole = make().run(Cell(Naive(), 0), ignore)
    kept = sorted((tmp_path / "work" / "measured").iterdir())
    assert len(kept) == 6
    document = json.loads(kept[0].read_text())
    document["scores"]["holdout"][0]["loss"] = 0.0
    kept[0].write_text(json.dumps(document))
    kept[1].write_bytes(kept[1].read_bytes()[:40])
    said: list[str] = []
    assert make(said).run(Cell(Naive(), 0), ignore) == whole
    assert len(said) == 2
    assert all("damaged, measured again" in line for line in said)
    again: list[str] = []
    assert make(again).run(Cell(Naive(), 0), ignore) == whole
    assert not again


def test_a_changed_stage_is_refused(make: Make, tmp_path: Path) -> None:
    make().run(Cell(Naive(), 0), ignore)
    path = tmp_path / "work/naive/seed-0/legal/adapter/adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(TrainingError, match="is not what the run wrote"):
        make().run(Cell(Naive(), 0), ignore)


def test_other_sizes_in_the_same_folder_are_refused(make: Make) -> None:
    make().run(Cell(Naive(), 0), ignore)
    with pytest.raises(ConfigError, match=r"cut.train was 16, now 12"):
        make(sizes=dataclasses.replace(SIZES, train=12)).run(Cell(Naive(), 0), ignore)


def test_a_method_on_another_has_it_trained_first(make: Make) -> None:
    experiment = make()
    merged = experiment.run(Cell(METHODS["merge-mean"], 0), ignore)
    assert experiment.complete(Cell(FROZEN, 0))
    frozen = experiment.run(Cell(FROZEN, 0), ignore)
    assert merged.matrix[0][0] == frozen.matrix[0][0]


def test_a_rate_of_its_own_trains_in_a_folder_of_its_own(make: Make) -> None:
    experiment = make()
    usual, bold = (experiment.run(Cell(FROZEN, 0, rate), ignore) for rate in (None, 5e-2))
    assert usual.final != bold.final
    assert experiment.folder(Cell(FROZEN, 0, 5e-2)).name == "seed-0-at-0.05"


def test_short_answers_are_about_trained_facts(make: Make, data_folder: Path) -> None:
    for name in ("legal", "code"):
        rows = [json.loads(line) for line in (data_folder / name / "train.jsonl").read_text().splitlines()]
        asked = [rows[0] | {"question": "Again?"}, rows[1] | {"question": "What?", "entry": "unknown"}]
        path = data_folder / name / "short_answer.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in asked))
    run = make(sizes=dataclasses.replace(SIZES, short_answer=1)).run(Cell(FROZEN, 0), ignore)
    assert all(len(scores.short_answer) == 1 for scores in run.final)
    with pytest.raises(DataError, match=r"has 1 fitting rows, 2 are asked for; lower --short-answer-rows"):
        make(sizes=dataclasses.replace(SIZES, short_answer=2))


def test_validation_rows_are_other_phrasings_of_what_is_trained(data_folder: Path, base_model: Path) -> None:
    config = TrainConfig(model=str(base_model))
    tuning = Protocol(data_folder, config, Sizes(12, 4, 1), ("legal", "code"), "validation")
    real = Protocol(data_folder, config, Sizes(12, 4, 0), ("legal", "code")).dataset()
    for tuned, reported in zip(tuning.dataset().domains, real.domains, strict=True):
        assert set(reported.train) == {*tuned.train, *tuned.holdout} and len(tuned.train) == 8
        assert {row.entry for row in tuned.holdout} <= {row.entry for row in tuned.train}
        assert not {row.key for row in tuned.holdout} & {row.key for row in (*tuned.train, *reported.holdout)}
        assert tuning.short_answers(tuned) == tuned.holdout


def test_rows_to_choose_by_are_taken_from_every_method(data_folder: Path, base_model: Path) -> None:
    protocol = Protocol(
        data_folder, TrainConfig(model=str(base_model)), Sizes(12, 4, 0, 3), ("legal", "code")
    )
    for domain in protocol.dataset().domains:
        assert (len(domain.train), len(domain.validation), len(domain.holdout)) == (9, 3, 4)
    assert protocol.cut()["validation"] == 3


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--seeds", "1,x"), "give whole numbers separated by commas"),
        (("--seeds", "1,1"), "give each once"),
        (("--seeds", "-1"), "0 or more"),
        (("--grid", "1e-3,x"), "give numbers separated by commas"),
        (("--grid", "1e-3,2"), "give each once, between 0 and 1"),
        (("--train-rows", "0"), "--train-rows is 0; give a number that is at least 1"),
        (("--train-rows", "999"), "fitting rows, 999 are asked for"),
        (("--methods", "naive,magic"), "unknown method magic; choose among naive, frozen"),
        (("--domains", "legal"), "forgetting needs two or more"),
    ],
)
def test_bad_input_is_refused_with_the_reason(
    base_model: Path,
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, str],
    complaint: str,
) -> None:
    paths = ["--data", str(data_folder), "--work", str(tmp_path / "w"), "--model", str(base_model)]
    assert main(["forgetting", *paths, "--holdout-rows", "4", *flags]) != 0
    assert complaint in capsys.readouterr().err


def test_the_command_trains_and_reports(base_model: Path, data_folder: Path, tmp_path: Path) -> None:
    flags = {
        "--data": data_folder,
        "--work": tmp_path / "work",
        "--report": tmp_path / "report",
        "--model": base_model,
        "--methods": "naive,frozen,modular",
        "--baselines": "joint",
        "--seeds": "0,1",
        "--domains": "legal,code",
        "--train-rows": 8,
        "--holdout-rows": 4,
        "--short-answer-rows": 0,
        "--steps": 2,
        "--batch-size": 4,
    }
    arguments = [str(part) for flag in flags.items() for part in flag]
    assert main(["forgetting", *arguments, "--no-routed"]) == 0
    report = json.loads((tmp_path / "report/forgetting.json").read_text())
    protocol = report["figures"]["protocol"]
    parameters = protocol["trainable_parameters"]
    assert parameters["modular"] > parameters["frozen"] == parameters["naive"] > 0
    assert protocol["rows"] == {"train": 8, "holdout": 4, "short_answer": 0}
    text = (tmp_path / "report/forgetting.md").read_text()
    assert "2 domains, 8 training rows each: legal, code" in text
    assert re.search(r"\| NAIVE +\| 0.001 / 0.002 +\| 4 ", text)
    assert str(tmp_path) not in text


def test_runs_compare_equal_by_value(make: Make) -> None:
    run = make().run(Cell(Naive(), 0), ignore)
    assert isinstance(run, MethodRun)
    assert make().run(Cell(Naive(), 1), ignore).matrix != run.matrix


class Router:
    """Sends every row where it is told to."""

    def __init__(self, target: str | None) -> None:
        self._decision = RoutingDecision(target, 0.9, "routed", "", {}, 0.0, 1.0)

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        return [self._decision] * len(texts)


def test_a_router_that_is_wrong_costs_and_one_that_is_right_does_not(make: Make) -> None:
    experiment, cell = make(), Cell(METHODS["modular"], 0)
    run = experiment.run(cell, ignore)
    routed = routed_run(experiment, cell, Router("legal"))
    assert routes_matter(experiment, cell)
    assert routed.right == 0.5
    assert [domain.oracle for domain in routed.final] == list(run.final)
    assert [domain.oracle for domain in routed.learnt] == [run.matrix[0][0], run.matrix[1][1]]
    legal, code = routed.final
    assert legal.routed == legal.oracle
    assert code.routed != code.oracle
    assert routed.drift(routed=False) == pytest.approx(run_statistics(run).drift.mean)  # type: ignore[union-attr]
    expected = 1 - (legal.oracle.loss + code.oracle.loss) / (legal.routed.loss + code.routed.loss)
    assert routed.share == pytest.approx(expected)


def test_what_is_routed_nowhere_is_answered_without_an_adapter(make: Make) -> None:
    experiment, cell = make(), Cell(FROZEN, 0)
    run = experiment.run(cell, ignore)
    routed = routed_run(experiment, cell, Router(None))
    assert tuple(domain.routed for domain in routed.final) == run.base
    assert routed.right == 0


def test_one_model_for_all_needs_no_router(make: Make) -> None:
    experiment, cell = make(), Cell(Naive(), 0)
    experiment.run(cell, ignore)
    assert not routes_matter(experiment, cell)
