"""Training jobs on the tiny base model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits

from crma_adapters.release import Release
from crma_training.config import TrainConfig
from crma_training.sequence import Job, train_sequence


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
