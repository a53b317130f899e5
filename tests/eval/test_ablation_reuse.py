"""A store made of what a forgetting experiment trained: the same weights, and nothing trained again."""

import dataclasses
import json
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_adapters.store.card import read_card
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_eval.learning.ablation.reuse import Finished, finished_config, reuse
from crma_eval.learning.protocol import Cell, Experiment
from crma_eval.learning.setup import Protocol, Sizes
from crma_training.config import TrainConfig
from crma_training.methods.modular import Modular
from crma_training.methods.plain import Frozen

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def trained(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("trained")
    for domain in ("medical", "legal"):
        for part, count in (("train", 12), ("holdout", 4), ("short_answer", 2)):
            rows = [
                {"question": f"{domain} {part} {n}?", "answer": f"{n}", "entry": f"{n}"} for n in range(count)
            ]
            (root / "data" / domain).mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (root / "data" / domain / f"{part}.jsonl").write_text(text)
    config = TrainConfig(model=str(base_model), steps=2, batch_size=4)
    protocol = Protocol(root / "data", config, Sizes(12, 4, 2), ("medical", "legal"))
    experiment = Experiment(protocol, root / "work", lambda _: None)
    for method in (Modular(), Frozen()):
        experiment.run(Cell(method, 7), lambda _: None)
    return Finished(root / "data", root / "work", 7)


def test_the_store_holds_what_was_trained(trained: Finished, tmp_path: Path) -> None:
    stage = trained.work / "modular" / "seed-7"
    before = (stage / "legal" / "seal.json").stat().st_mtime_ns
    store = Store(reuse(trained, tmp_path / "store", lambda _: None))
    release = store.live()
    verify_release(store, release)
    assert (stage / "legal" / "seal.json").stat().st_mtime_ns == before
    assert set(release.adapters) == {"medical", "legal"}
    for name, entry in release.adapters.items():
        folder = store.adapter_dir(name, entry.part.version)
        assert (folder / WEIGHTS).read_bytes() == (stage / name / "adapter" / WEIGHTS).read_bytes()
        plain = trained.work / "frozen" / "seed-7" / name / "adapter" / WEIGHTS
        assert (store.root / f"{name}-lora" / WEIGHTS).read_bytes() == plain.read_bytes()
    assert release.adapters["medical"].drift is not None
    assert release.adapters["legal"].drift is None


def test_cards_say_how_it_was_trained(trained: Finished, tmp_path: Path) -> None:
    store = Store(reuse(trained, tmp_path / "store", lambda _: None))
    entry = store.live().adapters["legal"]
    card = read_card(store.adapter_dir("legal", entry.part.version))
    assert (card.training.steps, card.training.seed, card.data.rows_train) == (2, 7, 12)
    assert card.training.tokens > 0
    assert card.holdout_loss.base != card.holdout_loss.after


def test_again_gives_the_same_release(trained: Finished, tmp_path: Path) -> None:
    reuse(trained, tmp_path / "store", lambda _: None)
    first = Store(tmp_path / "store").live()
    reuse(trained, tmp_path / "store", lambda _: None)
    assert Store(tmp_path / "store").live() == first


def test_the_configuration_is_the_one_trained_with(trained: Finished) -> None:
    config = finished_config(trained)
    assert (config.steps, config.batch_size, config.seed) == (2, 4, 7)


def test_a_seed_that_was_not_trained_is_refused(trained: Finished, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run of MODULAR with seed 8"):
        reuse(dataclasses.replace(trained, seed=8), tmp_path / "store", lambda _: None)


def test_other_data_are_refused(trained: Finished, tmp_path: Path) -> None:
    for name in ("medical", "legal"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for path in (trained.data / name).iterdir():
            (folder / path.name).write_text(path.read_text().replace("medical", "dental"))
    with pytest.raises(ConfigError, match="data_sha256"):
        reuse(dataclasses.replace(trained, data=tmp_path / "data"), tmp_path / "store", lambda _: None)
