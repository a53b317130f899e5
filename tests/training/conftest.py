"""Training jobs on the tiny base model."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits

from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.store.card import CARD_FILE, AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.store.release import Release
from crma_training.config import TrainConfig
from crma_training.data.dataset import load_dataset
from crma_training.methods.method import Lesson, Method
from crma_training.run_folder import json_bytes
from crma_training.sequence import Job, train_sequence
from crma_training.trainer.metrics import LoggedStep
from crma_training.trainer.spectral import SpectralReading
from crma_training.visibility.holdout import HoldoutReading
from crma_training.workbench import Task, Workbench, load_workbench


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small gain nothing from a second thread, and lose much to it on a busy machine."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture
def make_job(base_model: Path, data_folder: Path, tmp_path: Path) -> Callable[..., Job]:
    """Jobs on the tiny model; keywords change the job or its configuration."""

    def make(**changes: Any) -> Job:
        paths = {
            "data": data_folder,
            "adapters": tmp_path / "store",
            "run": tmp_path / "run",
            "domains": None,
        }
        job = {name: changes.pop(name, value) for name, value in paths.items()}
        defaults = {"model": str(base_model), "steps": 4, "batch_size": 4, "router": False}
        defaults |= {"adapter": "lora", "backbone": "shared"}
        return Job(config=TrainConfig(**{**defaults, **changes}), **job)

    return make


@pytest.fixture
def train(make_job: Callable[..., Job]) -> Callable[..., Release]:
    """Runs a job on the tiny model, without a word."""

    def run(**changes: Any) -> Release:
        return train_sequence(make_job(**changes), say=lambda _line: None)

    return run


@dataclass(frozen=True)
class Course:
    """Domains on the tiny model for methods of continual learning; `load` loads both anew."""

    load: Callable[[], tuple[Workbench, tuple[Task, ...]]]
    folder: Path

    def learn(
        self, method: Method, *, basis: tuple[Path, ...] = (), name: str = "", reload: bool = False
    ) -> tuple[Path, ...]:
        """The stage folders of all domains; with `reload` every stage gets a model of its own, as in a new
        process. Every stage must leave the model's weights and modules as they were.
        """
        bench, tasks = self.load()
        stages: tuple[Path, ...] = ()
        for index in range(len(tasks)):
            if reload:
                bench, tasks = self.load()
            folder = self.folder / (name or method.name) / tasks[index].name
            folder.mkdir(parents=True)
            weights, modules = bench.weights_digest(), [part for part, _ in bench.model.named_modules()]
            method.learn(Lesson(bench, tasks, index, stages, basis[: index + 1]), folder)
            assert bench.weights_digest() == weights
            assert [part for part, _ in bench.model.named_modules()] == modules
            assert not any(parameter.requires_grad for parameter in bench.model.parameters())
            stages = (*stages, folder)
        return stages

    @staticmethod
    def files(folder: Path) -> dict[str, bytes]:
        """Every file of a stage but its log, which holds times."""
        paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "metrics.jsonl")
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def make_course(base_model: Path, data_folder: Path, tmp_path: Path) -> Callable[..., Course]:
    """A course over some domains; keywords change the configuration."""

    def make(*domains: str, **changes: Any) -> Course:
        defaults = {"model": str(base_model), "steps": 3, "batch_size": 2, "rank": 2, "lora_alpha": 4}
        config = TrainConfig(**{**defaults, **changes})

        def load() -> tuple[Workbench, tuple[Task, ...]]:
            bench = load_workbench(resolve_base_model(config.model), config)
            chosen = domains or ("code", "legal", "medical")
            dataset = load_dataset(data_folder, chosen, validation_share=config.validation_share)
            return bench, tuple(bench.task(domain) for domain in dataset.domains)

        return Course(load, tmp_path / "stages")

    return make


@pytest.fixture
def finished_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder as far as reports read it, from made-up figures: nothing is trained."""

    def write(*domains: str, planned: tuple[str, ...] = (), steps: int = 6, **config: object) -> Path:
        run = tmp_path / "finished"
        identity = {"config": {**TrainConfig().to_json(), **config}, "base_fingerprint": "f" * 64}
        identity |= {"data_sha256": "d" * 64, "domains": [*domains, *planned]}
        (run / ".drift").mkdir(parents=True)
        (run / "run.json").write_bytes(json_bytes(identity))
        for index, name in enumerate(domains):
            (run / name / "adapter").mkdir(parents=True)
            (run / name / "adapter" / CARD_FILE).write_bytes(_card(name, steps).to_json())
            lines = (json.dumps(asdict(_step(name, step))) for step in range(steps))
            (run / name / "metrics.jsonl").write_text("\n".join(lines) + "\n")
            readings = [HoldoutReading(name, step, 3.0 - step / 9, 4, 0.1) for step in (0, steps)]
            readings += [HoldoutReading(earlier, steps, 2.5, 4, 0.1) for earlier in domains[:index]]
            lines = (json.dumps(asdict(reading)) for reading in readings)
            (run / name / "holdout.jsonl").write_text("\n".join(lines) + "\n")
            (run / name / "environment.json").write_text(json.dumps({"torch": "2.x", "python": "3.x"}))
        if not planned:
            drift = {name: None if name == domains[-1] else 0.0125 for name in domains}
            (run / ".drift" / "drift.json").write_bytes(json_bytes(drift))
        return run

    return write


def _step(domain: str, step: int) -> LoggedStep:
    groups = ("lora", "projections", "logits", "alpha")
    return LoggedStep(
        domain=domain,
        step=step,
        loss=4.0 - step / 10,
        gradient_norm={group: 1.5 + step % 3 for group in groups},
        clipped={group: group == "lora" and step == 4 for group in groups},
        learning_rate=dict.fromkeys(groups, 1e-3),
        spectral=SpectralReading(2e-8, 3e-8, 0.0, 0.009, 0.01, 0.011, 0.005),
        tokens=100,
        tokens_per_s=50.0,
    )


def _card(name: str, steps: int) -> AdapterCard:
    return AdapterCard(
        name=name,
        base_model="tiny",
        base_fingerprint="f" * 64,
        backbone="b" * 12,
        rank=4,
        alpha=8,
        target_modules=("q_proj",),
        data=CardData(rows_train=20, rows_holdout=4, sources=("a source",), licences=("CC0",)),
        training=CardTraining(steps=steps, epochs=1.0, seed=0, learning_rate=1e-3, tokens=50),
        holdout_loss=CardLoss(base=4.0, before=3.5, after=2.0),
    )
