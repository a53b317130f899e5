"""Publishing a run: nothing twice, nothing over a release the run does not know."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import TrainingError
from crma_adapters.release import Release
from crma_adapters.store import Store
from crma_training.sequence import Job, train_sequence

MakeJob = Callable[..., Job]
Train = Callable[..., Release]


def test_a_finished_run_given_again_trains_and_publishes_nothing(make_job: MakeJob, train: Train) -> None:
    first = train()
    said: list[str] = []
    assert train_sequence(make_job(), said.append) == first
    assert sum("finished before" in line for line in said) == 4
    assert said[-1] == "nothing new: release 1 has this content already"


def test_a_release_that_went_live_meanwhile_is_not_undone(train: Train, tmp_path: Path) -> None:
    train(domains=("code",))
    train(domains=("legal",), run=tmp_path / "run2")
    with pytest.raises(TrainingError, match=r"release 2 went live since this run began \(at release 0\)"):
        train(domains=("code",))
    assert Store(tmp_path / "store").live().number == 2
