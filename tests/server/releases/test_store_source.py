"""A store that changes, read again and again for a running server."""

from dataclasses import replace
from pathlib import Path

import pytest

from crma_adapters.errors import IncompatibleError, IntegrityError, StoreError
from crma_adapters.lora.bundle import compose_bundle
from crma_adapters.lora.lora_files import read_config
from crma_adapters.models.base_model import BaseModel
from crma_adapters.models.cache import CACHE_VARIABLE
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import AdapterEntry, Release
from crma_adapters.store.store import Store
from crma_server.releases import bundles
from crma_server.releases.plan import ReleasePlan, StoreSource, make_plan
from crma_server.releases.snapshot import Demand, open_snapshot

from ..conftest import write_adapter, write_backbone, write_lora, write_mixer


class Serving:
    """A store and what a server that follows it would have read of it so far."""

    def __init__(self, root: Path, drafts: Path, base: BaseModel) -> None:
        self.root, self.drafts, self.base = root, drafts, base
        self.store = Store(root)
        self.publish(1)
        self.plan = make_plan(open_snapshot(root, base.name))
        self.source = StoreSource(self.plan.origin, max_rank=8)

    def draft(self, seed: int, name: str = "medical") -> Path:
        folder = self.drafts / f"{name}-{seed}"
        if not folder.exists():
            write_adapter(folder, name=name, base=self.base, backbone=None, seed=seed)
        return folder

    def publish(self, seed: int) -> Release:
        return publish_parts(self.store, Publication(adapters={"medical": self.draft(seed)}))

    def read(self, refused: tuple[int, ...] = ()) -> ReleasePlan:
        self.plan = self.source.plan(self.plan, refused)
        return self.plan

    def version(self, number: int) -> str:
        return self.store.release(number).adapters["medical"].part.version


@pytest.fixture
def serving(tmp_path: Path, base_model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> Serving:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "models").symlink_to(base_model.path.parent)
    return Serving(tmp_path / "store", tmp_path / "drafts", base_model)


def names(given: tuple[bundles.Bundle, ...]) -> list[str]:
    return [bundle.engine_model for bundle in given]


def test_the_live_release_is_served_and_those_before_it_are_named(serving: Serving) -> None:
    for seed in (2, 3, 4):
        serving.publish(seed)
    plan = serving.read()
    assert serving.source.pointer().release == 4
    assert names(plan.bundles) == [f"medical@{serving.version(4)}"]
    assert names(plan.named) == [f"medical@{serving.version(3)}", f"medical@{serving.version(2)}"]
    assert [release.number for release in plan.kept] == [3, 2]


def test_a_start_names_them_too(serving: Serving) -> None:
    for seed in (2, 3, 4):
        serving.publish(seed)
    plan = make_plan(open_snapshot(serving.root, serving.base.name, keep=2), keep=2)
    assert names(plan.named) == [f"medical@{serving.version(3)}"]
    assert plan.origin.keep == 2


def test_only_what_is_new_is_composed(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[Path | None] = []

    def compose(*, lora: Path | None, mixer: Path | None, backbone: Path | None, out: Path) -> None:
        composed.append(lora)
        compose_bundle(lora=lora, mixer=mixer, backbone=backbone, out=out)

    monkeypatch.setattr(bundles, "compose_bundle", compose)
    before = serving.plan.bundles
    serving.publish(2)
    plan = serving.read()
    assert len(composed) == 1
    assert plan.named == before
    assert serving.read().bundles == plan.bundles
    assert len(composed) == 1


def test_a_rollback_serves_the_same_bundle_again(serving: Serving) -> None:
    first = serving.plan.bundles
    serving.publish(2)
    second = serving.read().bundles
    serving.store.rollback(1)
    plan = serving.read()
    assert plan.bundles == first
    assert plan.named == second


def test_a_canary_is_loaded_with_what_is_live(serving: Serving) -> None:
    serving.publish(2)
    first, second = serving.version(1), serving.version(2)
    serving.store.set_canary("medical", first, weight=0.25)
    plan = serving.read()
    assert set(names(plan.bundles)) == {f"medical@{first}", f"medical@{second}"}
    trial = plan.catalog.canary("medical")
    assert trial is not None
    assert (trial.entry.with_crma.version, trial.weight) == (first, 0.25)
    serving.store.promote("medical")
    plan = serving.read()
    assert (names(plan.bundles), plan.catalog.canary("medical")) == ([f"medical@{first}"], None)
    assert f"medical@{second}" in names(plan.named)


def test_what_was_refused_is_not_kept(serving: Serving) -> None:
    for seed in (2, 3):
        serving.publish(seed)
    assert [release.number for release in serving.read(refused=(2,)).kept] == [1]


def test_an_earlier_release_that_is_damaged_is_left_out(
    serving: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    serving.publish(2)
    serving.publish(3)
    weights = serving.store.adapter_dir("medical", serving.version(2)) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert [release.number for release in serving.read().kept] == [1]
    assert "release 2 is not kept" in capsys.readouterr().err


def test_a_live_release_that_is_damaged_is_refused(serving: Serving) -> None:
    serving.publish(2)
    weights = serving.store.adapter_dir("medical", serving.version(2)) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(IntegrityError):
        serving.read()


def test_a_rank_beyond_the_running_engine_is_refused(serving: Serving) -> None:
    serving.publish(2)
    with pytest.raises(IncompatibleError, match="rank"):
        StoreSource(serving.plan.origin, max_rank=2).plan(serving.plan, ())


def test_modules_beyond_the_running_engine_are_refused(
    serving: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    """A release that needs more is refused; an earlier one is only not kept."""
    mixers = StoreSource(serving.plan.origin, 8, frozenset({"residual_mixer"}))
    told = r"release 2 adapts q_proj, v_proj, the engine was started for residual_mixer alone \(--lora-target"
    serving.publish(2)
    with pytest.raises(IncompatibleError, match=told):
        mixers.plan(serving.plan, ())
    assert serving.read().release is not None
    adapter = write_mixer(serving.drafts / "mixer", name="medical", base=serving.base, backbone=None)
    serving.store.publish(
        base_model=serving.base.name,
        base_fingerprint=serving.base.fingerprint,
        backbone=None,
        adapters={"medical": AdapterEntry.pinned(serving.store.add_adapter("medical", adapter), None)},
        router=None,
    )
    fresh = replace(serving.plan, release=None, kept=())
    plan = mixers.plan(fresh, ())
    assert plan.release is not None and plan.release.number == 3 and plan.kept == ()
    assert "release 2 is not kept" in capsys.readouterr().err
    write_lora(serving.root / "pirate", seed=9)
    assert not any(name.startswith("pirate@") for name in names(mixers.plan(fresh, ()).bundles))
    assert "pirate adapts q_proj, v_proj, the engine was started for" in capsys.readouterr().err


def test_a_release_of_several_backbones_and_mixers(serving: Serving) -> None:
    """Each adapter in a bundle with the backbone that it runs on; the rank is that of mixer and backbone."""
    older, newest = (
        serving.store.add_backbone(write_backbone(serving.drafts / str(seed), serving.base, seed=seed))
        for seed in (1, 2)
    )
    entries = {}
    for name, backbone in (("medical", older.version), ("legal", newest.version), ("code", None)):
        folder = write_mixer(serving.drafts / name, name=name, base=serving.base, backbone=backbone)
        entries[name] = AdapterEntry.pinned(serving.store.add_adapter(name, folder), backbone)
    release = serving.store.publish(
        base_model=serving.base.name,
        base_fingerprint=serving.base.fingerprint,
        backbone=newest,
        adapters=entries,
        router=None,
    )
    assert set(release.other_backbones) == {older.version}
    contents = open_snapshot(serving.root, serving.base.name, keep=1)
    assert contents.demand == Demand(4 + 3, frozenset({"residual_mixer"}))
    plan = make_plan(contents, keep=1)
    exact = {name: f"{name}@{entry.part.version}" for name, entry in entries.items()}
    assert set(names(plan.bundles)) == {
        f"{exact['medical']}+{older.version}",
        f"{exact['medical']}:crma-off",
        f"{exact['legal']}+{newest.version}",
        f"{exact['legal']}:crma-off",
        exact["code"],
        f"backbone@{newest.version}",
    }
    ranks = {bundle.engine_model: read_config(bundle.path).r for bundle in plan.bundles}
    assert ranks[f"{exact['medical']}+{older.version}"] == 7
    assert ranks[f"{exact['medical']}:crma-off"] == ranks[exact["code"]] == 3
    assert len({bundle.path for bundle in plan.bundles}) == 6


def test_a_crma_of_another_width_than_the_model_is_refused(serving: Serving) -> None:
    folder = write_mixer(serving.drafts / "m", name="medical", base=serving.base, backbone=None, layers=29)
    part = serving.store.add_adapter("medical", folder)
    serving.store.publish(
        base_model=serving.base.name,
        base_fingerprint=serving.base.fingerprint,
        backbone=None,
        adapters={"medical": AdapterEntry.pinned(part, None)},
        router=None,
    )
    told = r"mixer\.json: of 29 blocks of size 576, smollm2-135m-instruct has 30 blocks of size 576"
    with pytest.raises(IncompatibleError, match=told):
        serving.read()


def test_a_plain_folder_comes_with_the_next_look(serving: Serving) -> None:
    write_lora(serving.root / "pirate", seed=9)
    plan = serving.read()
    assert {name.partition("@")[0] for name in names(plan.bundles)} == {"medical", "pirate"}


def test_two_names_of_one_lora_are_two_models_to_the_engine(serving: Serving) -> None:
    for name in ("pirate", "sailor"):
        write_lora(serving.root / name, seed=9)
    ids = {bundle.engine_model.partition("@")[0]: bundle.lora_id for bundle in serving.read().bundles}
    assert ids["pirate"] != ids["sailor"]
    again = make_plan(open_snapshot(serving.root, serving.base.name))
    assert {bundle.engine_model.partition("@")[0]: bundle.lora_id for bundle in again.bundles} == ids


def test_a_lost_pointer_is_an_error_to_look_at(serving: Serving) -> None:
    (serving.root / "release.json").unlink()
    with pytest.raises(StoreError, match=r"release\.json"):
        serving.source.pointer()
