"""A release is served only if every byte is as recorded and its parts fit each other, base and engine."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma_card import CrmaCard
from crma_adapters.errors import ConfigError, CrmaError, IncompatibleError, IntegrityError, StoreError
from crma_adapters.io.regular_files import sha256_file
from crma_adapters.store.card import AdapterCard
from crma_adapters.store.names import version_of
from crma_adapters.store.release import (
    PINNED,
    REFRESHED,
    AdapterEntry,
    Canary,
    Part,
    Release,
    RunsOn,
    ValidationLosses,
)
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_plain, verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop


def medical(store: Store) -> Path:
    return store.adapter_dir("medical", store.live().adapters["medical"].part.version)


def test_a_sound_release_passes(store: Store, workshop: "Workshop") -> None:
    verify_release(store, store.live(), base_fingerprint=workshop.fingerprint, max_rank=4)


def test_another_base_model(store: Store) -> None:
    with pytest.raises(
        IncompatibleError, match=r"release 1 is for base model tiny-model .*serve it with --model"
    ):
        verify_release(store, store.live(), base_fingerprint="cd" * 32)


def test_too_high_a_rank(store: Store) -> None:
    with pytest.raises(IncompatibleError, match="rank 4, the engine takes at most 2"):
        verify_release(store, store.live(), max_rank=2)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


def link_outside(path: Path) -> None:
    outside = path.parents[3] / "outside.safetensors"
    shutil.move(path, outside)
    path.symlink_to(outside)


def link_folder(path: Path) -> None:
    outside = path.parents[3] / "outside"
    shutil.move(path.parent, outside)
    path.parent.symlink_to(outside)


def link_domain(path: Path) -> None:
    outside = path.parents[3] / "outside"
    shutil.move(path.parents[1], outside)
    path.parents[1].symlink_to(outside)


def add_pickle(path: Path) -> None:
    (path.parent / "adapter_model.bin").write_bytes(pickle.dumps({}))


def add_file(path: Path) -> None:
    (path.parent / "notes.txt").write_text("x")


def add_folder(path: Path) -> None:
    (path.parent / "more").mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (truncate, "sha256 is .* the release says .* restore it, or publish it again"),
        (empty, "sha256 is"),
        (flip, "sha256 is"),
        (remove, "is missing"),
        (link_outside, "is a symlink; expected the file itself"),
        (link_folder, "is a symlink; expected the file or folder itself"),
        (link_domain, "is a symlink"),
        (add_pickle, "adapter_model.bin: is a pickle by its name"),
        (add_file, "notes.txt: has no place in a published adapter; remove it"),
        (add_folder, "more: has no place in a published adapter"),
        (fifo, "is not a regular file"),
    ],
)
def test_damage_to_a_published_adapter(store: Store, damage: Callable[[Path], None], told: str) -> None:
    release = store.live()
    damage(medical(store) / "adapter_model.safetensors")
    with pytest.raises(StoreError, match=f"medical.*{told}"):
        verify_release(store, release)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_byte_goes_unseen(store: Store, data: st.DataObject) -> None:
    release = store.live()
    files = sorted(path for path in store.root.rglob("*") if path.is_file() and path.parent.name != "store")
    path = data.draw(st.sampled_from(files))
    sound = path.read_bytes()
    at, to = data.draw(st.integers(0, len(sound) - 1)), data.draw(st.integers(1, 255))
    try:
        path.write_bytes(sound[:at] + bytes([sound[at] ^ to]) + sound[at + 1 :])
        with pytest.raises(StoreError):
            verify_release(store, store.live())
    finally:
        path.write_bytes(sound)
    assert store.live() == release


def republished(store: Store, change: Callable[[Path], None]) -> Release:
    """The live release with `medical` changed and digests recomputed: as a careful attacker would."""
    release = store.live()
    folder, entry = medical(store), release.adapters["medical"]
    change(folder)
    files = {name: sha256_file(folder / name) for name in entry.part.files}
    part = Part(version_of(files), files)
    folder.rename(store.adapter_dir("medical", part.version))
    return replace(release, adapters=release.adapters | {"medical": replace(entry, part=part)})


def put_nan(folder: Path) -> None:
    pair = {
        "q.lora_A.weight": np.ones((4, 8), np.float32),
        "q.lora_B.weight": np.full((8, 4), np.nan, np.float32),
    }
    save_file(pair, folder / "adapter_model.safetensors")


def put_pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(pickle.dumps(list(range(999))))


def put_huge_header(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes((10 * 2**30).to_bytes(8, "little") + b"{" * 99)


def rewrite_card(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (put_nan, IntegrityError, "lora_B.weight has NaN or Inf"),
        (put_pickle, IntegrityError, "looks like a pickle"),
        (put_huge_header, IntegrityError, "header claims 10737418240 bytes"),
        (rewrite_card(rank=8), IntegrityError, "rank 8, alpha 8.0; adapter_config.json says 4, 8"),
        (rewrite_card(name="legal"), IncompatibleError, "is the card of 'legal', expected 'medical'"),
        (
            rewrite_card(base_fingerprint="ef" * 32),
            IncompatibleError,
            r"trained on tiny-model \(efef.*release is for",
        ),
        (
            rewrite_card(backbone="0" * 12),
            IntegrityError,
            "trained on backbone 000000000000, the release says",
        ),
        (rewrite_card(format=7), IncompatibleError, "format 7, expected 2"),
    ],
)
def test_content_is_checked_though_digests_agree(
    store: Store, change: Callable[[Path], None], kind: type[CrmaError], told: str
) -> None:
    release = republished(store, change)
    with pytest.raises(kind, match=told):
        verify_release(store, release)


def test_a_version_that_is_not_its_contents(store: Store) -> None:
    release = store.live()
    entry = release.adapters["medical"]
    medical(store).rename(store.adapter_dir("medical", "0" * 12))
    moved = replace(entry, part=replace(entry.part, version="0" * 12))
    with pytest.raises(IntegrityError, match="version 000000000000 is not that of its files"):
        verify_release(store, replace(release, adapters={"medical": moved}, router=None))


@pytest.mark.parametrize("version", ["../../../../etc", "..", "/etc/passwd0", ""])
def test_a_version_that_leads_out(store: Store, version: str) -> None:
    release = store.live()
    entry = release.adapters["medical"]
    entry = replace(entry, part=replace(entry.part, version=version))
    with pytest.raises(StoreError, match="expected 12 lower-case hex"):
        verify_release(store, replace(release, adapters={"medical": entry}))


def test_another_backbone_needs_a_measured_drift(store: Store, workshop: "Workshop") -> None:
    release = replace(store.live(), backbone=store.add_backbone(workshop.backbone(seed=5)))
    with pytest.raises(IncompatibleError, match=r"trained on backbone .* and records no drift under it"):
        verify_release(store, release)
    measured = {name: replace(entry, drift=0.01) for name, entry in release.adapters.items()}
    verify_release(store, replace(release, adapters=measured))
    with pytest.raises(IncompatibleError, match="the release has it run on None and records no drift"):
        verify_release(store, replace(release, backbone=None))


def place(release: Release, name: str, **changes: Any) -> Release:
    """The release with one adapter's entry changed."""
    return replace(release, adapters=release.adapters | {name: replace(release.adapters[name], **changes)})


def figures(backbone: str, newest: float = 2.25) -> ValidationLosses:
    """Of 60 rows: 2.25 nats under the adapter's own backbone, with a standard error of 0.125."""
    return ValidationLosses(backbone, own=2.25, newest=newest, standard_error=0.125, rows=60)


def test_several_backbones_in_one_release(store: Store, workshop: "Workshop") -> None:
    old, other = store.live().placed(), store.add_backbone(workshop.backbone(seed=5))
    assert old.backbone is not None
    own, newest = old.backbone.version, other.version
    release = replace(old, backbone=other, other_backbones={own: old.backbone})
    verify_release(store, release)
    moved = place(release, "medical", runs_on=RunsOn(newest, REFRESHED, figures(newest, 2.375)))
    verify_release(store, moved)
    verify_release(store, place(moved, "medical", drift=-0.01))
    kept = place(release, "medical", runs_on=RunsOn(own, PINNED, figures(newest, 9.0)))
    verify_release(store, kept)
    unnamed = replace(release, other_backbones={})
    misnamed = replace(release, other_backbones={"0" * 12: old.backbone})
    twice = replace(release, other_backbones={newest: other, own: old.backbone})

    def placed(runs_on: RunsOn) -> Release:
        return place(release, "medical", runs_on=runs_on)

    refusals: list[tuple[Release, type[CrmaError], str]] = [
        (unnamed, IncompatibleError, rf"runs on backbone {own}, which the release does not have; it has "),
        (misnamed, IntegrityError, "expected each besides the newest under its own version"),
        (twice, IntegrityError, "expected each besides the newest"),
        (placed(RunsOn(own, REFRESHED)), IntegrityError, "is said to be refreshed"),
        (placed(RunsOn(newest, PINNED)), IntegrityError, "is said to be pinned"),
        (placed(RunsOn(newest, REFRESHED)), IncompatibleError, "records no drift"),
        (place(release, "medical", drift=0.01), IntegrityError, "is pinned and records a drift of 0.01"),
        (
            placed(RunsOn(newest, REFRESHED, figures(own))),
            IntegrityError,
            "expected figures of that backbone",
        ),
        (
            placed(RunsOn(newest, REFRESHED, figures(newest, 2.376))),
            IntegrityError,
            r"not worse by more than one standard error \(0.1250\): pin it",
        ),
    ]
    for refused, kind, told in refusals:
        with pytest.raises(kind, match=told):
            verify_release(store, refused)
    flip(store.backbone_dir(own) / "crma.safetensors")
    with pytest.raises(IntegrityError, match=f"{own}/crma.safetensors: sha256 is"):
        verify_release(store, release)


def with_mixer(store: Store, folder: Path, backbone: Part | None) -> Release:
    """The live release with that adapter of `medical`, pinned, the store's other parts as they are."""
    live, part = store.live().placed(), store.add_adapter("medical", folder)
    version = backbone.version if backbone else None
    others = {backbone.version: backbone} if backbone and backbone != live.backbone else {}
    return replace(
        live, adapters=live.adapters | {"medical": AdapterEntry.pinned(part, version)}, other_backbones=others
    )


WIDER, DEEPER = (CrmaConfig(hidden_size=d, num_layers=n, rank=2) for d, n in ((16, 1), (8, 2)))


class TestMixer:
    @pytest.mark.parametrize("lora", [False, True])
    def test_alone_and_beside_a_lora(self, store: Store, workshop: "Workshop", lora: bool) -> None:
        backbone = store.live().backbone
        assert backbone is not None
        folder = workshop.mixer(backbone=backbone.version, lora=lora)
        release = with_mixer(store, folder, backbone)
        files = ["adapter.json", "mixer.json", "mixer.safetensors"]
        files[1:1] = ["adapter_config.json", "adapter_model.safetensors"] if lora else []
        assert sorted(release.adapters["medical"].part.files) == files
        verify_release(store, release, max_rank=4)
        bare = with_mixer(store, workshop.mixer(seed=2, lora=lora), None)
        verify_release(store, bare, max_rank=4)
        verify_release(
            store, replace(bare, backbone=None, adapters={"medical": bare.adapters["medical"]}, router=None)
        )

    def test_its_rank_and_the_backbones_must_fit_the_engine_together(
        self, store: Store, workshop: "Workshop"
    ) -> None:
        live = store.live()
        assert live.backbone is not None
        wide = replace(WIDER, hidden_size=8, rank=7)
        folder = workshop.mixer(backbone=live.backbone.version, config=wide)
        release = with_mixer(store, folder, live.backbone)
        verify_release(store, release, max_rank=9)
        with pytest.raises(IncompatibleError, match=r"the mixer with backbone .* has rank 9 on the residual"):
            verify_release(store, release, max_rank=8)
        with pytest.raises(IncompatibleError, match=r"the mixer has rank 7 .*serve with --max-lora-rank 7"):
            verify_release(store, release, max_rank=6)
        with pytest.raises(
            IncompatibleError, match=r"backbone [0-9a-f]{12} has rank 2 on the residual stream"
        ):
            verify_release(store, replace(live, adapters={}, router=None), max_rank=1)

    @pytest.mark.parametrize("config", [WIDER, DEEPER])
    def test_one_for_another_model_is_refused(
        self, store: Store, workshop: "Workshop", config: CrmaConfig
    ) -> None:
        backbone = store.live().backbone
        assert backbone is not None
        size = f"{config.num_layers} blocks of size {config.hidden_size}"
        told = f"is of {size}, backbone .* of 1 blocks of size 8"
        mixer = with_mixer(store, workshop.mixer(backbone=backbone.version, config=config), backbone)
        with pytest.raises(IncompatibleError, match=rf"mixer\.json: the mixer {told}"):
            verify_release(store, mixer)
        other = store.add_backbone(workshop.backbone(config=config))
        with pytest.raises(IncompatibleError, match="blocks of size"):
            verify_release(store, with_mixer(store, workshop.mixer(backbone=other.version), other))

    @pytest.mark.parametrize(
        ("changes", "kind", "told"),
        [
            ({"kind": "lora", "mixing_rank": None}, StoreError, r"adapter_config\.json: is missing"),
            (
                {"kind": "both"},
                StoreError,
                r"adapter_config\.json: is missing; adapter\.json says kind 'both'",
            ),
            ({"mixing_rank": 3}, IntegrityError, r"mixing_rank 3, mixer\.json says 2"),
            ({"rank": 3}, IntegrityError, r"rank 3, mixer\.json says 2"),
            ({"base_fingerprint": "cd" * 32}, IncompatibleError, r"mixer\.json: base_fingerprint abab"),
        ],
    )
    def test_a_card_of_another_adapter(
        self, store: Store, workshop: "Workshop", changes: dict[str, Any], kind: type[CrmaError], told: str
    ) -> None:
        folder = workshop.mixer()
        card = replace(AdapterCard.from_json((folder / "adapter.json").read_bytes()), **changes)
        (folder / "adapter.json").write_bytes(card.to_json())
        with pytest.raises(kind, match=told):
            store.add_adapter("medical", folder)

    def test_a_card_of_one_form_over_tensors_of_another(self, store: Store, workshop: "Workshop") -> None:
        folder = workshop.mixer()
        card = CrmaCard.from_json((folder / "mixer.json").read_bytes(), "mixer.json")
        first = replace(card, config=replace(card.config, form=1))
        (folder / "mixer.json").write_bytes(first.to_json())
        with pytest.raises(
            IntegrityError, match=r"tensor blocks\.0\.log_alpha is missing, mixer\.json makes it"
        ):
            store.add_adapter("medical", folder)


def test_a_plain_lora_under_a_backbone_needs_a_measured_drift_too(store: Store, workshop: "Workshop") -> None:
    part = store.add_adapter("code", workshop.adapter("code"))
    release = replace(store.live(), adapters={"code": AdapterEntry(part, None, None)}, router=None)
    with pytest.raises(IncompatibleError, match=r"trained on backbone None"):
        verify_release(store, release)


def test_a_backbone_of_another_base(store: Store, workshop: "Workshop") -> None:
    other = store.add_backbone(workshop.backbone(fingerprint="cd" * 32))
    with pytest.raises(
        IncompatibleError, match=r"crma\.json: base_fingerprint 'cdcd.*train a backbone on that base"
    ):
        verify_release(store, replace(store.live(), backbone=other, adapters={}))


def test_a_canary_is_checked_as_its_domain_is(store: Store, workshop: "Workshop") -> None:
    live = store.live()
    entry, backbone = live.adapters["medical"], live.backbone
    assert backbone is not None
    part = store.add_adapter("medical", workshop.adapter(seed=2, rank=8, backbone=backbone.version))

    def tried(**changes: Any) -> Release:
        canary = replace(Canary(part, backbone.version, None, 0.1), **changes)
        return replace(live, adapters=live.adapters | {"medical": replace(entry, canary=canary)})

    verify_release(store, tried(), max_rank=8)
    refusals: list[tuple[dict[str, Any], type[CrmaError], str]] = [
        ({"part": entry.part}, IntegrityError, "the canary of medical is its live version"),
        ({"weight": 1.0}, ConfigError, "expected a share between 0 and 1"),
        ({"trained_on_backbone": None}, IntegrityError, "the release says None"),
        ({"part": replace(part, version="0" * 12)}, StoreError, "is missing"),
    ]
    for changes, kind, told in refusals:
        with pytest.raises(kind, match=told):
            verify_release(store, tried(**changes))
    with pytest.raises(IncompatibleError, match="rank 8, the engine takes at most 4"):
        verify_release(store, tried(), max_rank=4)
    flip(store.adapter_dir("medical", part.version) / "adapter_model.safetensors")
    with pytest.raises(IntegrityError, match=f"{part.version}/adapter_model.safetensors: sha256 is"):
        verify_release(store, tried())


def test_a_router_to_a_domain_that_is_not_there(store: Store, workshop: "Workshop") -> None:
    router = store.add_router(workshop.router("legal", "medical", "cooking"))
    with pytest.raises(IncompatibleError, match="routes to cooking, the release has legal, medical"):
        verify_release(store, replace(store.live(), router=router))


class TestPlain:
    def test_a_sound_one_passes_with_what_peft_leaves_beside_it(self, workshop: "Workshop") -> None:
        folder = workshop.adapter()
        (folder / "README.md").write_text("x")
        (folder / "checkpoint-5").mkdir()
        verify_plain(folder, max_rank=4)

    @pytest.mark.parametrize("name", ["adapter_model.bin", "training_args.bin", "optimizer.pt", "x.PKL"])
    def test_a_pickle_beside_it_is_refused(self, workshop: "Workshop", name: str) -> None:
        folder = workshop.adapter()
        (folder / name).write_bytes(b"")
        with pytest.raises(IntegrityError, match=f"{name}: is a pickle by its name"):
            verify_plain(folder)

    @pytest.mark.parametrize("name", ["adapter_config.json", "README.md"])
    def test_a_symlink_is_refused(self, workshop: "Workshop", tmp_path: Path, name: str) -> None:
        folder = workshop.adapter()
        (tmp_path / "outside").write_text("{}")
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(tmp_path / "outside")
        with pytest.raises(IntegrityError, match=f"{name}: is a symlink"):
            verify_plain(folder)

    def test_a_linked_folder_is_refused(self, workshop: "Workshop", tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(workshop.adapter())
        with pytest.raises(IntegrityError, match="link: is a symlink"):
            verify_plain(tmp_path / "link")

    def test_rank_and_content_are_checked(self, workshop: "Workshop") -> None:
        folder = workshop.adapter(rank=8)
        with pytest.raises(IncompatibleError, match="rank 8, the engine takes at most 4"):
            verify_plain(folder, max_rank=4)
        put_nan(folder)
        with pytest.raises(IntegrityError, match="NaN"):
            verify_plain(folder)

    def test_a_missing_one_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="absent: is missing"):
            verify_plain(tmp_path / "absent")
