"""Publishing a run: nothing twice, nothing over a release the run does not know."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crma_adapters.errors import TrainingError
from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
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


def test_a_canary_ends_where_the_backbone_changes(train: Train, tmp_path: Path) -> None:
    old = train(domains=("code",)).adapters["code"]
    store, retrained = Store(tmp_path / "store"), tmp_path / "retrained"
    shutil.copytree(store.adapter_dir("code", old.part.version), retrained)
    card = read_card(retrained)
    (retrained / "adapter.json").write_bytes(replace(card, base_model="renamed").to_json())
    store.set_canary("code", store.add_adapter("code", retrained).version, weight=0.5)
    last = train(domains=("legal",), run=tmp_path / "run2")
    assert last.adapters["code"].part == old.part and last.adapters["code"].canary is None
