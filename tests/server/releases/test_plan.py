import pickle
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from crma_adapters.errors import ConfigError, IncompatibleError, StoreError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.models.cache import CACHE_VARIABLE
from crma_server.releases.plan import make_plan
from crma_server.releases.snapshot import Demand, open_snapshot


@pytest.fixture(autouse=True)
def bundles_elsewhere(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(own_cache))


def test_a_store_becomes_names_and_bundles(small_store: Path) -> None:
    contents = open_snapshot(small_store, None)
    plan = make_plan(contents, ["smollm2"])
    release = contents.release
    assert release is not None
    assert release.backbone is not None
    crma = release.backbone.version
    medical, legal = (release.adapters[name].part.version for name in ("medical", "legal"))
    names = [bundle.engine_model for bundle in plan.bundles]
    pirate = next(name for name in names if name.startswith("pirate@"))
    assert set(names) == {
        f"medical@{medical}+{crma}",
        f"legal@{legal}+{crma}",
        f"medical@{medical}:crma-off",
        f"legal@{legal}:crma-off",
        f"backbone@{crma}",
        pirate,
    }
    assert (
        len({bundle.lora_id for bundle in plan.bundles}) == len({bundle.path for bundle in plan.bundles}) == 6
    )
    assert all((bundle.path / "adapter_model.safetensors").is_file() for bundle in plan.bundles)


def test_a_second_plan_finds_the_bundles(small_store: Path) -> None:
    contents = open_snapshot(small_store, None)
    first = make_plan(contents, [])
    times = [(bundle.path / "adapter_model.safetensors").stat().st_mtime_ns for bundle in first.bundles]
    second = make_plan(contents, [])
    assert second.bundles == first.bundles
    assert [(b.path / "adapter_model.safetensors").stat().st_mtime_ns for b in second.bundles] == times


def test_a_plan_travels_to_another_process(small_store: Path) -> None:
    plan = make_plan(open_snapshot(small_store, None), [])
    travelled = pickle.loads(pickle.dumps(plan))  # noqa: S301
    assert travelled.bundles == plan.bundles
    assert travelled.catalog.select("medical") == plan.catalog.select("medical")


def test_what_the_engine_is_asked_for_counts_adapters_and_backbone(small_store: Path) -> None:
    demand = open_snapshot(small_store, None).demand
    assert demand == Demand(4, frozenset({"q_proj", "v_proj", "residual_mixer"}))


def test_a_plain_folder_alone_is_a_store(tmp_path: Path, small_store: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "pirate").symlink_to(small_store / "pirate")
    with pytest.raises(StoreError, match="nothing in it can be served"):
        open_snapshot(tmp_path / "store", None)
    (tmp_path / "store" / "pirate").unlink()
    copy_folder(small_store / "pirate", tmp_path / "store" / "pirate")
    contents = open_snapshot(tmp_path / "store", None)
    assert contents.release is None
    plan = make_plan(contents, [])
    assert [bundle.engine_model.partition("@")[0] for bundle in plan.bundles] == ["pirate"]
    assert plan.router is None


def test_an_empty_folder_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError):
        open_snapshot(tmp_path / "empty", None)


def test_another_base_model_is_refused(tmp_path: Path, small_store: Path, base_model: BaseModel) -> None:
    other = copy_folder(base_model.path, tmp_path / "other")
    config = (
        (other / "config.json")
        .read_text(encoding="utf-8")
        .replace('"vocab_size": 49152', '"vocab_size": 49153')
    )
    (other / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(IncompatibleError, match="base model smollm2-135m-instruct"):
        open_snapshot(small_store, str(other))


def test_a_served_name_that_is_an_adapters_is_refused(small_store: Path) -> None:
    with pytest.raises(ConfigError, match="medical"):
        make_plan(open_snapshot(small_store, None), ["medical"])


def copy_folder(source: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_one_folder_that_cannot_be_served_does_not_stop_the_rest(
    tmp_path: Path, small_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "store"
    for name in ("Sea Talk", "broken", "dora", "wide"):
        copy_folder(small_store / "pirate", root / name)
    (root / "broken" / "adapter_model.safetensors").write_bytes(b"")
    config = root / "dora" / "adapter_config.json"
    config.write_text(config.read_text().replace("{", '{"use_dora": true, ', 1))
    (root / "link").symlink_to(small_store / "pirate")
    weights = root / "wide" / "adapter_model.safetensors"
    narrow = {n: t[:, :100].contiguous() if ".lora_A." in n else t for n, t in load_file(weights).items()}
    save_file(narrow, weights)
    assert list(open_snapshot(root, None).plain) == ["sea-talk"]
    said = capsys.readouterr().err
    assert "Sea Talk is served as 'sea-talk'" in said
    for name, why in (
        ("broken", "safetensors"),
        ("dora", "use_dora"),
        ("wide", "(out, in)"),
        ("link", "is a link"),
    ):
        [line] = [line for line in said.splitlines() if f"left out: {root / name}:" in line]
        assert why in line
