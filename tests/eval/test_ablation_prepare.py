import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError, TrainingError
from crma_adapters.store.card import read_card
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_eval.learning.ablation.prepare import Preparation, prepare
from crma_training.config import TrainConfig

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def trained(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    """Two domains, trained once; tests work on copies."""
    root = tmp_path_factory.mktemp("trained")
    for domain in ("medical", "legal"):
        rows = [{"question": f"{domain} {n}?", "answer": f"{n}"} for n in range(12)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (root / "data").mkdir(exist_ok=True)
        (root / "data" / f"{domain}.jsonl").write_text(text)
    config = TrainConfig(model=str(base_model), steps=2, batch_size=4, holdout_every=0)
    config = dataclasses.replace(config, adapter="lora", backbone="shared")
    job = Preparation(root / "data", config, ("medical", "legal"), root / "work", lora_rate=5e-3)
    prepare(job, lambda _: None)
    return job


@pytest.fixture
def job(trained: Preparation, tmp_path: Path) -> Preparation:
    shutil.copytree(trained.work, tmp_path / "work")
    return dataclasses.replace(trained, work=tmp_path / "work")


def test_the_controls_are_trained_as_the_release_on_the_bare_base_model(trained: Preparation) -> None:
    store = Store(trained.store)
    release = store.live()
    verify_release(store, release)
    names = [f"{name}{kind}" for name in ("medical", "legal") for kind in ("", "-lora", "-mixer")]
    assert set(release.adapters) == set(names) and release.router is None and release.backbone is not None
    for name, entry in release.adapters.items():
        assert (release.backbone_of(entry) is None) == (name not in ("medical", "legal"))
        card = read_card(store.adapter_dir(name, entry.part.version))
        assert (card.training.steps, card.training.seed, card.data.rows_train) == (2, 0, 11)
    rates = {
        name: read_card(store.adapter_dir(name, release.adapters[name].part.version)).training.learning_rate
        for name in names[:3]
    }
    assert rates == {"medical": 1e-3, "medical-lora": 5e-3, "medical-mixer": 2e-3}


@pytest.mark.parametrize(
    ("changes", "controls"),
    [
        ({"adapter": "lora", "backbone": "shared"}, ["lora-only", "mixer-only"]),
        ({"adapter": "both", "backbone": "consolidated"}, ["lora-only", "mixer-only"]),
        ({"adapter": "mixer", "backbone": "consolidated"}, ["lora-only"]),
        ({"adapter": "lora", "backbone": "none"}, ["mixer-only"]),
    ],
)
def test_what_the_release_is_itself_is_no_control(changes: dict[str, str], controls: list[str]) -> None:
    config = dataclasses.replace(TrainConfig(), **changes)  # type: ignore[arg-type]
    assert list(Preparation(Path("d"), config, ("a",), Path("w")).controls()) == controls


def test_goes_on_where_it_was_killed_and_trains_nothing_twice(job: Preparation) -> None:
    live = Store(job.store).live()
    folder = job.work / "lora-only" / "legal-lora"
    expected = (folder / "adapter" / WEIGHTS).read_bytes()
    shutil.rmtree(folder)
    said: list[str] = []
    prepare(job, said.append)
    assert (folder / "adapter" / WEIGHTS).read_bytes() == expected
    assert [line for line in said if line.endswith(": 11 rows")] == ["legal-lora: 11 rows"]
    assert Store(job.store).live().adapters == live.adapters


def test_tampering_and_other_options_are_refused(job: Preparation) -> None:
    other = dataclasses.replace(job, config=dataclasses.replace(job.config, steps=4))
    with pytest.raises(ConfigError, match=r"config.steps was 2, now 4"):
        prepare(other, lambda _: None)
    path = job.work / "lora-only" / "medical-lora" / "adapter" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TrainingError, match=r"is not what the run wrote"):
        prepare(job, lambda _: None)


def test_a_domain_with_the_name_of_a_control(trained: Preparation) -> None:
    clash = dataclasses.replace(trained, domains=("legal", "legal-lora"))
    with pytest.raises(ConfigError, match="domains legal and legal-lora: rename the latter"):
        prepare(clash, lambda _: None)
