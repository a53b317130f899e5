"""The whole path on a tiny model: train, resume after a kill, publish, add domains."""

from pathlib import Path

from crma_adapters.store import Store
from crma_adapters.verify import verify_release
from crma_training.config import TrainConfig
from crma_training.sequence import Job, train_sequence


def job(base_model: Path, data: Path, tmp_path: Path, **changes: object) -> Job:
    config = TrainConfig(**{"model": str(base_model), "steps": 4, "batch_size": 4, "router": False, **changes})  # type: ignore[arg-type]
    return Job(data=data, adapters=tmp_path / "store", config=config, run=tmp_path / "run")


def test_a_sequence_becomes_one_verified_release(base_model: Path, data_folder: Path, tmp_path: Path) -> None:
    release = train_sequence(job(base_model, data_folder, tmp_path))
    verify_release(Store(tmp_path / "store"), release)
    assert set(release.adapters) == {"medical", "legal", "financial", "code"}
