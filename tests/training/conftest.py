"""Training jobs on the tiny base model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits

from crma_adapters.base_model import resolve_base_model
from crma_adapters.release import Release
from crma_training.config import TrainConfig
from crma_training.continual.method import Lesson, Method
from crma_training.dataset import load_dataset
from crma_training.sequence import Job, train_sequence
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
            dataset = load_dataset(data_folder, domains or ("code", "legal", "medical"))
            return bench, tuple(bench.task(domain) for domain in dataset.domains)

        return Course(load, tmp_path / "stages")

    return make
