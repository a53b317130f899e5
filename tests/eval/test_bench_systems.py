"""What each system is served by, its folders, questions and names, and the sizes of a plan."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from crma_adapters.errors import ConfigError, DataError
from crma_adapters.lora.lora_files import WEIGHTS_FILE, check_lora
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_plain, verify_release
from crma_eval.serving.bench.servers import COMPILED
from crma_eval.serving.bench.session import Residency, place_of
from crma_eval.serving.bench.stores import add_of_rank, live_lora
from crma_eval.serving.bench.systems import (
    RESIDENT,
    Load,
    Plan,
    Subject,
    check_plan,
    choose_systems,
    deal,
    loads_text,
    parse_loads,
    read_questions,
    rotate,
    server_specs,
    systems,
    zipf,
)
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


def test_questions_are_read_once_each_and_short_ones_left_out(write_rows: Callable[..., Path]) -> None:
    write_rows("law/holdout.jsonl", [{"question": "What is a tort?"}, {"question": "Why?"}])
    path = write_rows("law/train.jsonl", [{"question": "What is a tort?"}, {"question": "Who may sue whom?"}])
    assert read_questions(path.parent.parent, "law") == ["What is a tort?", "Who may sue whom?"]


@pytest.mark.parametrize("rows", [[{"question": "Why?"}], [{"answer": "no"}], ["no object"]])
def test_what_asks_nothing_is_refused(write_rows: Callable[..., Path], rows: list[object]) -> None:
    path = write_rows("law/holdout.jsonl", rows)
    with pytest.raises(DataError, match="law"):
        read_questions(path.parent.parent, "law")


def test_an_unknown_domain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="poetry"):
        read_questions(tmp_path, "poetry")


def test_dealing_goes_round() -> None:
    assert deal("abc", 2, 4) == ("c", "a", "b", "c")
    assert rotate(("x", "y"), 3) == ("x", "y", "x")


def test_zipf_names_the_first_most_often_and_the_same_for_one_seed() -> None:
    names = [f"n{place}" for place in range(100)]
    drawn = zipf(names, 20_000, (1, 2))
    counts = Counter(drawn)
    assert counts["n0"] / counts["n1"] == pytest.approx(2, rel=0.15)
    assert counts["n0"] / counts["n9"] == pytest.approx(10, rel=0.3)
    assert zipf(names, 50, (1, 2)) == zipf(names, 50, (1, 2))
    assert zipf(names, 50, (1, 2)) != zipf(names, 50, (1, 3))


def test_the_least_recently_used_adapter_goes() -> None:
    memory = Residency(2)
    assert memory.ask("aba") == (False, False, True)
    assert memory.ask("c") == (False,)  # b goes: a was asked for later
    assert memory.ask("ab") == (True, False)


def test_loads_are_read_as_they_are_written() -> None:
    assert parse_loads("1:6,32:64") == (Load(1, 6), Load(32, 64))
    assert parse_loads(loads_text(Plan().loads)) == Plan().loads


@pytest.mark.parametrize("text", ["", "1", "1:2:3", "a:b", "1:2,"])
def test_other_loads_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="CONCURRENCY:REQUESTS"):
        parse_loads(text)


def test_the_defaults_can_be_used() -> None:
    check_plan(Plan())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"repeats": 0}, "--repeats is 0"),
        ({"output_tokens": 2}, "--output-tokens is 2"),
        ({"copies": 64}, "--copies is 64"),
        ({"minutes": 0.0}, "--minutes is 0"),
        ({"minutes": float("nan")}, "--minutes is nan"),
        ({"loads": (Load(0, 5),)}, "concurrency"),
        ({"loads": (Load(1, 0),)}, "requests"),
        ({"loads": (Load(1, 5), Load(1, 6))}, "twice"),
    ],
)
def test_sizes_that_measure_nothing_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_plan(replace(Plan(), **change))  # type: ignore[arg-type]


def test_other_facts_have_another_folder(tmp_path: Path) -> None:
    assert place_of(tmp_path, "x", {"a": 1}) == place_of(tmp_path, "x", {"a": 1})
    assert place_of(tmp_path, "x", {"a": 1}) != place_of(tmp_path, "x", {"a": 2})
