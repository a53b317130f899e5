"""What each system is served by, and the folders made for it."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from crma_adapters.errors import ConfigError
from crma_adapters.lora.lora_files import WEIGHTS_FILE, check_lora
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_plain, verify_release
from crma_eval.serving.bench.many_adapters import add_of_rank, live_lora
from crma_eval.serving.bench.plan import RESIDENT
from crma_eval.serving.bench.servers import COMPILED
from crma_eval.serving.bench.systems import Subject, choose_systems, server_specs, systems
from crma_server.engine.vllm.cpu.compile import ENVIRONMENT

from .bench_store import RANK, make_store

COPIES = RESIDENT + 6


@pytest.fixture(scope="module")
def subject(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    base = resolve_base_model(str(base_model))
    store = make_store(tmp_path_factory.mktemp("bench") / "store", base, ("medical", "legal"))
    return Subject(store, base, "legal", ("--dtype", "float32"))


def value(flags: tuple[str, ...], flag: str) -> str:
    return flags[flags.index(flag) + 1]


def test_every_server_has_the_same_flags_and_every_lora_server_the_same_slots(
    subject: Subject, tmp_path: Path
) -> None:
    every = systems(subject, COPIES)
    specs = server_specs(subject, tmp_path, COPIES, {system.server for system in every})
    assert {system.server for system in every} == specs.keys()
    assert all(spec.flags[:2] == ("--dtype", "float32") for spec in specs.values())
    with_lora = [spec for name, spec in specs.items() if name not in ("vllm", "vllm-eager")]
    assert {value(spec.flags, "--max-loras") for spec in with_lora} == {"8"}
    assert {value(spec.flags, "--max-cpu-loras") for spec in with_lora} == {"64"}
    assert {value(spec.flags, "--max-lora-rank") for spec in with_lora} == {"8"}  # 4 streams, rank 3
    assert {name for name, spec in specs.items() if spec.stock} == {"vllm", "vllm-eager", "vllm-stock"}


def test_vllm_alone_serves_the_bundle_that_crma_serve_composes(subject: Subject, tmp_path: Path) -> None:
    specs = server_specs(subject, tmp_path, COPIES, {"vllm-lora", "vllm-stock"})
    name, _, folder = value(specs["vllm-lora"].flags, "--lora-modules").partition("=")
    assert name == "legal"
    tensors = load_file(Path(folder) / WEIGHTS_FILE)
    own = load_file(live_lora(subject.store, "legal") / WEIGHTS_FILE)
    assert tensors.keys() - own.keys() == {
        f"base_model.model.model.layers.{layer}.residual_mixer.lora_{side}.weight"
        for layer in (0, 1)
        for side in "AB"
    }
    overrides = json.loads(value(specs["vllm-lora"].flags, "--hf-overrides"))
    assert overrides == {"architectures": ["CrmaLlamaForCausalLM"]}
    assert "--hf-overrides" not in specs["vllm-stock"].flags
    stock = value(specs["vllm-stock"].flags, "--lora-modules").partition("=")[2]
    assert load_file(Path(stock) / WEIGHTS_FILE).keys() == own.keys()


def test_the_large_store_holds_the_release_and_the_copies(subject: Subject, tmp_path: Path) -> None:
    spec = server_specs(subject, tmp_path, COPIES, {"crma-many"})["crma-many"]
    assert spec.store is not None
    made = Store(spec.store)
    verify_release(made, made.live())
    assert made.live() == subject.store.live()
    plain = made.plain_adapters()
    (h,) = [system for system in systems(subject, COPIES) if system.zipf]
    assert list(h.models) == sorted(plain) and len(plain) == COPIES
    for path in plain.values():
        verify_plain(path, max_rank=RANK)
    again = server_specs(subject, tmp_path, COPIES, {"crma-many"})["crma-many"]
    assert again == spec


def test_a_rank_of_choice(subject: Subject, tmp_path: Path) -> None:
    add_of_rank(live_lora(subject.store, "legal"), 64, tmp_path / "r")
    assert check_lora(tmp_path / "r", max_rank=64).ranks == {64}
    shapes = {
        name.split(".")[-2]: tuple(t.shape) for name, t in load_file(tmp_path / "r" / WEIGHTS_FILE).items()
    }
    assert shapes == {"lora_A": (64, 32), "lora_B": (32, 64)}


def test_choosing_systems(subject: Subject) -> None:
    every = systems(subject, COPIES)
    assert [system.key for system in choose_systems(every, None)] == ["a", "b", "c-stock", *"cdefgh"]
    assert [system.key for system in choose_systems(every, "d,a")] == ["a", "d"]
    with pytest.raises(ConfigError, match="z; there are a, a-eager, b"):
        choose_systems(every, "a,z")


def test_plain_vllm_compiles_as_crma_serve_does() -> None:
    """The evaluations know the server by its commands alone, so the names stand in both."""
    assert COMPILED == ENVIRONMENT
