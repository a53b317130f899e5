"""The whole path on a tiny model: train, resume after a kill, publish, add domains."""

from collections.abc import Callable
from pathlib import Path

from crma_adapters.store import Store
from crma_adapters.verify import verify_release
from crma_training.sequence import Job, train_sequence

MakeJob = Callable[..., Job]


def test_a_sequence_becomes_one_verified_release(make_job: MakeJob, tmp_path: Path) -> None:
    release = train_sequence(make_job())
    verify_release(Store(tmp_path / "store"), release)
    assert set(release.adapters) == {"medical", "legal", "financial", "code"}
