"""The whole path on a tiny model."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
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
    assert all(entry.drift is None for entry in release.adapters.values())  # pinned: nothing moves under them
    assert {release.state_of(entry) for entry in release.adapters.values()} == {"pinned"}
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
    with pytest.raises(DataError, match=rf"{path}:4: \d+ tokens, --max-length is"):
        train(overlong="error", domains=("code", "legal"))
    assert not (tmp_path / "run" / "code").exists()


def test_earlier_domains_move_to_the_newest_backbone_only_where_validation_allows_it(
    train: Train, tmp_path: Path
) -> None:
    release = train(domains=("code", "legal"), validation_share=0.3, steps=8)
    entry = release.adapters["code"]
    assert entry.runs_on is not None
    figures = entry.runs_on.validation
    assert figures is not None
    assert (release.state_of(entry) == "refreshed") == figures.is_not_worse
    assert (release.backbone_of(entry) == release.backbone.version) == figures.is_not_worse  # type: ignore[union-attr]
    assert (entry.drift is not None) == figures.is_not_worse
    verify_release(Store(tmp_path / "store"), release)


@pytest.mark.parametrize("kind", ["lora", "mixer", "both"])
def test_every_kind_of_adapter_on_the_bare_base_and_one_consolidated_backbone(
    train: Train, tmp_path: Path, kind: str
) -> None:
    """The gate decides whether the backbone is published; the adapters run on the bare base model all the
    same.
    """
    settings = {"adapter": kind, "backbone": "consolidated", "steps": 20, "learning_rate": 1e-2}
    release = train(domains=("code", "legal"), consolidation_epochs=2, **settings)
    store = Store(tmp_path / "store")
    verify_release(store, release)
    told = json.loads((tmp_path / "run" / ".consolidated" / "consolidation.json").read_text())
    assert told["divergence"].keys() == {"code", "legal", "generic"}
    assert all(told["divergence"][name] < told["before"][name] for name in ("code", "legal"))
    assert (release.backbone is not None) == told["passes"]
    for name, entry in release.adapters.items():
        card = read_card(store.adapter_dir(name, entry.part.version))
        assert (card.kind, entry.trained_on_backbone) == (kind, None)
        assert card.holdout_loss.after < card.holdout_loss.base
    assert train(domains=("code", "legal"), consolidation_epochs=2, **settings) == release


@pytest.mark.parametrize("start", ["previous", "mean", "nearest"])
def test_warm_starts_say_what_they_are_of(
    train: Train, tmp_path: Path, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crma_training.starts.default_embed", lambda: letters)
    release = train(start=start, adapter="both", backbone="none", domains=("code", "financial", "legal"))
    store = Store(tmp_path / "store")
    cards = [
        read_card(store.adapter_dir(name, entry.part.version)) for name, entry in release.adapters.items()
    ]
    versions = {name: f"{name}@{entry.part.version}" for name, entry in release.adapters.items()}
    by_name = {card.name: card.start for card in cards}
    assert by_name["code"] is not None and by_name["code"].method == "fresh"
    legal = by_name["legal"]
    assert legal is not None and legal.method == start
    earlier = {"previous": ["financial"], "mean": ["code", "financial"]}.get(start)
    if earlier is None:
        assert len(legal.adapters) == 1
    else:
        assert list(legal.adapters) == [versions[name] for name in earlier]


def letters(texts: Sequence[str]) -> np.ndarray:
    """How often each letter stands in a text, (texts, 26)."""
    return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], dtype=float)
