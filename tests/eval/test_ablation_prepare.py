import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crma_adapters.errors import ConfigError, TrainingError
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_plain, verify_release
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
    job = Preparation(root / "data", config, ("medical", "legal"), root / "work")
    prepare(job, lambda _: None)
    return job


@pytest.fixture
def job(trained: Preparation, tmp_path: Path) -> Preparation:
    shutil.copytree(trained.work, tmp_path / "work")
    return dataclasses.replace(trained, work=tmp_path / "work")


def test_a_release_and_beside_it_the_loras_without(trained: Preparation) -> None:
    store = Store(trained.store)
    release = store.live()
    verify_release(store, release)
    assert set(release.adapters) == {"medical", "legal"} and release.router is None
    assert set(store.plain_adapters()) == {"medical-lora", "legal-lora"}
    for name in ("medical", "legal"):
        verify_plain(store.root / f"{name}-lora", max_rank=16)
        with_crma = load_file(store.adapter_dir(name, release.adapters[name].part.version) / WEIGHTS)
        without = load_file(store.root / f"{name}-lora" / WEIGHTS)
        assert with_crma.keys() == without.keys()
        assert all(with_crma[key].shape == without[key].shape for key in without)
        assert any(not torch.equal(with_crma[key], without[key]) for key in without)
        assert any(tensor.any() for key, tensor in without.items() if "lora_B" in key)


def test_what_is_trained_is_not_trained_again(job: Preparation) -> None:
    said: list[str] = []
    weights = job.work / "without-crma" / "legal" / "adapter" / WEIGHTS
    before = weights.stat().st_mtime_ns, Store(job.store).live()
    shutil.rmtree(job.store / "legal-lora")  # as if killed while copying
    (job.store / "medical-lora" / WEIGHTS).write_bytes(b"broken")
    prepare(job, said.append)
    assert (weights.stat().st_mtime_ns, Store(job.store).live()) == before
    assert (job.store / "medical-lora" / WEIGHTS).read_bytes() == (
        job.work / "without-crma" / "medical" / "adapter" / WEIGHTS
    ).read_bytes()
    assert (job.store / "legal-lora" / WEIGHTS).read_bytes() == weights.read_bytes()
    assert "without CRMA: finished before, not trained again" in said


def test_goes_on_at_the_domain_where_it_was_killed(job: Preparation) -> None:
    folder = job.work / "without-crma" / "legal"
    expected = (folder / "adapter" / WEIGHTS).read_bytes()
    shutil.rmtree(folder)
    said: list[str] = []
    prepare(job, said.append)
    assert (folder / "adapter" / WEIGHTS).read_bytes() == expected
    assert [line for line in said if "without CRMA" in line] == ["legal, without CRMA: 11 rows"]


def test_tampering_and_other_options_are_refused(job: Preparation) -> None:
    other = dataclasses.replace(job, config=dataclasses.replace(job.config, steps=4))
    with pytest.raises(ConfigError, match=r"config.steps was 2, now 4"):
        prepare(other, lambda _: None)
    path = job.work / "without-crma" / "medical" / "adapter" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TrainingError, match=r"is not what the run wrote"):
        prepare(job, lambda _: None)


def test_a_domain_with_the_name_of_a_plain_lora(trained: Preparation) -> None:
    clash = dataclasses.replace(trained, domains=("legal", "legal-lora"))
    with pytest.raises(ConfigError, match="domains legal and legal-lora: rename the latter"):
        prepare(clash, lambda _: None)
