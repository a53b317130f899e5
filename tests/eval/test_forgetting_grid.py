"""One grid of learning rates for every method: what is tried, taken, and reported."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from crma_adapters.errors import ConfigError
from crma_eval.cli import main
from crma_eval.learning.grid import Tried, grid_section, rate_of, try_rates, tuned
from crma_eval.learning.protocol import Experiment
from crma_eval.learning.setup import Protocol, Sizes
from crma_training.config import TrainConfig
from crma_training.methods.method import Lesson
from crma_training.methods.plain import Naive
from crma_training.methods.registry import METHODS


def test_the_best_rate_is_that_of_the_least_loss() -> None:
    assert Tried("a", {1e-3: 2.0, 2e-3: 1.5, 4e-3: 1.5}).best == 2e-3
    assert not Tried("a", {1e-3: 2.0, 2e-3: 1.5, 4e-3: 1.6}).at_edge
    assert Tried("a", {1e-3: 2.0, 2e-3: None}).best == 1e-3
    with pytest.raises(ConfigError, match=r"a diverged at every rate of 0\.001, 0\.002"):
        _ = Tried("a", {1e-3: None, 2e-3: None}).best


def test_what_builds_on_another_takes_its_rate() -> None:
    methods = [METHODS[name] for name in ("merge-mean", "frozen", "modular-unpinned", "naive")]
    assert [method.name for method in tuned(methods)] == ["frozen", "modular", "naive"]
    tried = {name: Tried(name, {rate: 1.0}) for name, rate in (("frozen", 1e-3), ("modular", 4e-3))}
    assert [rate_of(method, tried) for method in methods[:3]] == [1e-3, 1e-3, 4e-3]


def test_every_rate_stands_in_the_report() -> None:
    section = grid_section({"naive": Tried("naive", {1e-3: 2.0, 2e-3: 1.5, 4e-3: None})}, 24)
    assert section.header == ("method", "0.001", "0.002", "0.004", "taken")
    assert section.rows == (("naive", "2.0000", "1.5000", "diverged", "0.002"),)


def test_a_rate_that_diverges_is_told_and_the_others_go_on(
    base_model: Path, data_folder: Path, tmp_path: Path
) -> None:
    class Fragile(Naive):
        def learn(self, lesson: Lesson, folder: Path) -> None:
            if lesson.bench.config.learning_rate > 0.1:
                from crma_adapters.errors import TrainingError

                raise TrainingError("loss is nan")
            super().learn(lesson, folder)

    config = TrainConfig(model=str(base_model), steps=2, batch_size=4)
    protocol = Protocol(data_folder, config, Sizes(12, 4, 1), ("legal", "code"), "validation")
    said: list[str] = []
    experiment = Experiment(protocol, tmp_path / "work", said.append, tmp_path / "journal")
    tried = try_rates(experiment, [Fragile()], (1e-3, 0.5), 0, say=said.append)["naive"]
    assert tried.losses[0.5] is None and math.isfinite(tried.losses[1e-3] or math.nan)
    assert tried.best == 1e-3 and said == ["naive at 0.5: loss is nan"]
    assert not (tmp_path / "work/naive/seed-0-at-0.001").exists()  # the journal has it


def test_the_command_tunes_then_reports_at_the_best_rates(
    base_model: Path, data_folder: Path, tmp_path: Path
) -> None:
    def report() -> dict[str, Any]:
        flags = {
            "--data": data_folder,
            "--work": tmp_path / "work",
            "--journal": tmp_path / "journal",
            "--report": tmp_path / "report",
            "--model": base_model,
            "--methods": "frozen,merge-mean",
            "--seeds": "1,2",
            "--domains": "legal,code",
            "--grid": "1e-3,2e-2",
            "--train-rows": 12,
            "--holdout-rows": 4,
            "--short-answer-rows": 0,
            "--steps": 3,
            "--batch-size": 4,
        }
        given = [str(part) for flag in flags.items() for part in flag]
        assert main(["forgetting", *given, "--no-routed"]) == 0
        found: dict[str, Any] = json.loads((tmp_path / "report/forgetting.json").read_text())["figures"][
            "protocol"
        ]
        return found

    found = report()
    assert list(found["grid"]) == ["frozen"]
    assert {cell["learning_rate"] for cell in found["cells"]} == {0.02}
    assert "| frozen |" in (tmp_path / "report/forgetting.md").read_text()
    assert report() == found
