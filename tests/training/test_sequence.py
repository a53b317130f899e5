"""The whole path on a tiny model."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_training.sequence import Job, train_sequence

MakeJob = Callable[..., Job]
Train = Callable[..., Release]
WriteRows = Callable[..., Path]


def test_four_domains_become_one_verified_release(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(
        domains=("medical", "legal", "financial", "code"), note="four", steps=8, learning_rate=1e-2
    )
    said: list[str] = []
    release = train_sequence(job, said.append)
    store = Store(tmp_path / "store")
    verify_release(store, release)
    assert release == store.live()
    assert (release.number, release.note, release.router) == (1, "four", None)
    assert release.backbone is not None
    snapshots = [entry.trained_on_backbone for entry in release.adapters.values()]
    assert len(set(snapshots)) == 4
    assert release.adapters["code"].trained_on_backbone == release.backbone.version
    assert release.adapters["code"].drift is None
    assert all(isinstance(release.adapters[name].drift, float) for name in ("medical", "legal", "financial"))
    for name, entry in release.adapters.items():
        card = read_card(store.adapter_dir(name, entry.part.version))
        assert card.holdout_loss.after < card.holdout_loss.base
        assert (card.data.rows_train, card.data.licences) == (20, ("CC0",))
        assert card.training.steps == 8
        assert any(line.startswith(f"{name}: holdout loss base") for line in said)


def test_a_row_that_is_too_long_is_known_before_training(
    train: Train, tmp_path: Path, write_rows: WriteRows
) -> None:
    rows = [{"question": "why " * (400 if n == 3 else 1) + str(n), "answer": "a"} for n in range(6)]
    path = write_rows("legal/train.jsonl", rows)
    with pytest.raises(DataError, match=rf"{path}:4: the question alone has \d+ tokens"):
        train(domains=("code", "legal"))
    assert not (tmp_path / "run" / "code").exists()
