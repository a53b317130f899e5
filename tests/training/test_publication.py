"""Publishing a run: nothing twice, nothing over a release the run does not know."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_training.config import TrainConfig
from crma_training.data.dataset import Dataset, DomainData
from crma_training.sequence import Job, train_sequence, with_newer_domains
from crma_training.start import Start
from crma_training.store_questions import StoreQuestions

MakeJob = Callable[..., Job]
Train = Callable[..., Release]


def test_a_finished_run_given_again_trains_and_publishes_nothing(make_job: MakeJob, train: Train) -> None:
    first = train()
    said: list[str] = []
    assert train_sequence(make_job(), said.append) == first
    assert sum("finished before" in line for line in said) == 4
    assert said[-1] == "nothing new: release 1 has this content already"


def test_a_release_that_went_live_meanwhile_is_built_on(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trainings into one store: the one that ends later keeps what the other published."""

    def stopped(*_arguments: object) -> Release:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("crma_training.sequence.publish", stopped)
        train(domains=("code",))
    train(domains=("legal",), run=tmp_path / "run2")
    release = train(domains=("code",))
    assert (release.number, set(release.adapters)) == (2, {"code", "legal"})
    verify_release(Store(tmp_path / "store"), release)


def test_a_router_learns_the_domains_that_went_live_meanwhile(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[list[str]] = []

    def fit(domains: Sequence[DomainData], *_more: object, **_options: object) -> None:
        fitted.append([domain.name for domain in domains])
        raise KeyboardInterrupt

    train(domains=("legal",))
    store, start = Store(tmp_path / "store"), Start(0, None, ())
    data = Dataset((DomainData("code", (), (), ("q",)),), (), "")
    more = StoreQuestions((DomainData("legal", (), (), ("q",)),), ())
    monkeypatch.setattr("crma_training.sequence.fit_release_router", fit)
    monkeypatch.setattr("crma_training.sequence.StoreQuestions.of", lambda *_arguments: more)
    with pytest.raises(KeyboardInterrupt):
        with_newer_domains(store, start, tmp_path, data, StoreQuestions((), ()), TrainConfig())
    assert fitted == [["code", "legal"]]
    known = Start(1, None, ("legal",))
    assert with_newer_domains(store, known, tmp_path, data, more, TrainConfig()) == tmp_path


def test_a_canary_goes_on_where_its_domain_stays(train: Train, tmp_path: Path) -> None:
    old = train(domains=("code",)).adapters["code"]
    store, retrained = Store(tmp_path / "store"), tmp_path / "retrained"
    shutil.copytree(store.adapter_dir("code", old.part.version), retrained)
    card = read_card(retrained)
    (retrained / "adapter.json").write_bytes(replace(card, base_model="renamed").to_json())
    store.set_canary("code", store.add_adapter("code", retrained).version, weight=0.5)
    last = train(domains=("legal",), run=tmp_path / "run2")
    assert last.adapters["code"].part == old.part
    assert last.adapters["code"].canary is not None
