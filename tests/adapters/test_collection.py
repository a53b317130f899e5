"""gc removes what no kept release names, and nothing else, whatever happens meanwhile."""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crma_adapters.errors import ConfigError, IntegrityError, StoreError
from crma_adapters.io import durable
from crma_adapters.store.collection import collect
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop


def publish_medical(store: Store, workshop: "Workshop", *seeds: int) -> list[Release]:
    backbone = store.live().backbone
    assert backbone is not None
    folders = [workshop.adapter(seed=seed, backbone=backbone.version) for seed in seeds]
    return [publish_parts(store, Publication(adapters={"medical": folder})) for folder in folders]


def medical(store: Store, release: Release) -> Path:
    return store.adapter_dir("medical", release.adapters["medical"].part.version)


def everything(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.name != ".lock"}


def test_what_no_kept_release_names_goes_and_history_stays(store: Store, workshop: "Workshop") -> None:
    releases = [store.live(), *publish_medical(store, workshop, 2, 3, 4)]
    before = everything(store.root)
    done = collect(store, keep=2)
    gone = [medical(store, release) for release in releases[:2]]
    assert done.kept == (3, 4) and set(done.removed) == set(gone)
    assert before - everything(store.root) == {path for path in before if {path, *path.parents} & set(gone)}
    for release in releases[2:]:
        verify_release(store, release)
    assert store.releases() == releases and store.live() == releases[3]
    assert collect(store, keep=2).removed == {}


def test_the_sizes_are_told(store: Store, workshop: "Workshop") -> None:
    first = medical(store, store.live())
    size_bytes = sum(path.stat().st_size for path in first.iterdir())
    publish_medical(store, workshop, 2)
    assert collect(store, keep=1).removed == {first: size_bytes}


def test_a_dry_run_changes_nothing(store: Store, workshop: "Workshop") -> None:
    publish_medical(store, workshop, 2, 3)
    (store.root / ".lock").unlink()
    before = set(store.root.rglob("*"))
    told = collect(store, keep=1, dry_run=True)
    assert set(store.root.rglob("*")) == before
    assert collect(store, keep=1) == told and len(told.removed) == 2


def test_more_than_there_are_keeps_all(store: Store, workshop: "Workshop") -> None:
    publish_medical(store, workshop, 2, 3, 4)
    for keep in (4, 5, 6, 10, 10**6):
        assert collect(store, keep=keep).removed == {}
    assert collect(store, keep=10).kept == (1, 2, 3, 4)


def test_a_part_named_again_by_a_rollback_stays(store: Store, workshop: "Workshop") -> None:
    publish_medical(store, workshop, 2)
    back = store.rollback(1)
    assert set(collect(store, keep=1).removed) == {medical(store, store.release(2))}
    verify_release(store, back)


def test_a_canary_is_a_named_part(store: Store, workshop: "Workshop") -> None:
    second = publish_medical(store, workshop, 2)[0]
    back = store.rollback(1)
    version = second.adapters["medical"].part.version
    tried = store.set_canary("medical", version, weight=0.5)
    assert collect(store, keep=1).removed == {}
    verify_release(store, tried)
    assert store.drop_canary("medical").same_content(back)
    assert set(collect(store, keep=1).removed) == {store.adapter_dir("medical", version)}


def test_backbones_routers_and_versions_never_released(store: Store, workshop: "Workshop") -> None:
    parts = [
        store.backbone_dir(store.add_backbone(workshop.backbone(seed=5)).version),
        store.router_dir(store.add_router(workshop.router("legal", seed=5)).version),
        store.adapter_dir("code", store.add_adapter("code", workshop.adapter("code")).version),
    ]
    assert set(collect(store).removed) == set(parts)
    assert not any(part.exists() for part in parts)
    assert not (store.root / "code").exists(), "an empty domain folder is left"
    assert (store.root / "backbone").is_dir() and (store.root / "router").is_dir()


def test_what_is_not_ours_stays(store: Store, workshop: "Workshop") -> None:
    plain = workshop.adapter().rename(store.root / "poetry")
    mine = [
        plain / ("0" * 12) / "checkpoint",
        store.root / "medical" / "notes",
        store.root / "medical" / ("A" * 12),
        store.root / "not a domain" / ("0" * 12),
        store.root / ".hidden" / ("0" * 12),
        store.root / "releases" / ("0" * 12),
    ]
    for folder in mine:
        folder.mkdir(parents=True)
    (store.root / "legal" / ("1" * 12)).write_text("a file")
    before = everything(store.root)
    assert collect(store, keep=1).removed == {}
    assert everything(store.root) == before


def test_a_release_that_was_collected_cannot_go_live_again(store: Store, workshop: "Workshop") -> None:
    first = store.live()
    live = publish_medical(store, workshop, 2)[-1]
    collect(store, keep=1)
    assert store.missing_folders(first) == [medical(store, first)] and not store.missing_folders(live)
    with pytest.raises(
        StoreError, match=r"removed by `crma-adapters gc` or lost, so release 1 cannot go live"
    ):
        store.rollback(1)
    assert store.live() == live
    publish_medical(store, workshop, 0)
    assert store.rollback(1).same_content(first)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("release.json", None),
        ("release.json", b"{"),
        ("releases/0003.json", None),
        ("releases/0003.json", b"{"),
        ("releases/0002.json", b"{"),
        ("releases/0002.json", b'{"format": 2}'),
    ],
)
def test_with_a_kept_document_damaged_nothing_is_removed(
    store: Store, workshop: "Workshop", name: str, data: bytes | None
) -> None:
    publish_medical(store, workshop, 2, 3)
    (store.root / name).unlink() if data is None else (store.root / name).write_bytes(data)
    before = everything(store.root)
    with pytest.raises(StoreError):
        collect(store, keep=2)
    assert everything(store.root) == before


def test_documents_of_releases_not_kept_are_not_read(store: Store, workshop: "Workshop") -> None:
    publish_medical(store, workshop, 2, 3)
    (store.root / "releases" / "0001.json").write_text("{")
    assert collect(store, keep=2).kept == (2, 3)


@pytest.mark.parametrize("place", ["medical", "cooking", "backbone"])
@pytest.mark.parametrize("inner", [True, False])
def test_nothing_is_removed_through_a_symlink(
    store: Store, tmp_path: Path, workshop: "Workshop", place: str, inner: bool
) -> None:
    publish_medical(store, workshop, 2)
    outside = tmp_path / "outside"
    (outside / ("0" * 12)).mkdir(parents=True)
    if inner:
        (store.root / place).mkdir(exist_ok=True)
        (store.root / place / ("0" * 12)).symlink_to(outside / ("0" * 12))
    else:
        shutil.rmtree(store.root / place, ignore_errors=True)
        (store.root / place).symlink_to(outside)
    before = everything(store.root)
    with pytest.raises(IntegrityError, match="is a symlink"):
        collect(store, keep=1)
    assert everything(store.root) == before and (outside / ("0" * 12)).is_dir()


def test_keeping_none_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="given 0 to keep, expected 1 or more"):
        collect(store, keep=0)


def test_no_store_is_made(tmp_path: Path) -> None:
    for dry_run in (True, False):
        with pytest.raises(StoreError, match="is not a folder; make one"):
            collect(Store(tmp_path / "absent"), dry_run=dry_run)
    assert not (tmp_path / "absent").exists()


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and nothing on disk is tidied after it."""


def test_killed_at_every_step(
    store: Store, workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = publish_medical(store, workshop, 2, 3)[-1]
    for step in range(1, 100):
        copy = Store(tmp_path / f"copy-{step}")
        shutil.copytree(store.root, copy.root)
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            try:
                collect(copy, keep=1)
                killed = False
            except Killed:
                killed = True
        verify_release(copy, Store(copy.root).live())
        for version in copy.adapter_versions()["medical"]:
            names = sorted(path.name for path in copy.adapter_dir("medical", version).iterdir())
            assert len(names) == 3, "half a version is left under its name"
        collect(copy, keep=1)
        assert copy.adapter_versions()["medical"] == [live.adapters["medical"].part.version]
        assert not list(copy.root.glob(".tmp-*"))
        if not killed:
            break
    assert not killed and step > 8


def kill_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Raise `Killed` instead of the `step`th flush, rename or removal of a file."""
    left = [step]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return call(*arguments, **options)

        return run

    patch.setattr(os, "unlink", counted(os.unlink))
    patch.setattr(durable, "sync_folder", counted(durable.sync_folder))
    patch.setattr(Path, "replace", counted(Path.replace))


def test_gc_waits_for_a_publisher_between_adding_and_publishing(store: Store, workshop: "Workshop") -> None:
    live = store.live()
    assert live.backbone is not None
    folder = workshop.adapter(seed=9, backbone=live.backbone.version)
    collector = threading.Thread(target=lambda: collect(Store(store.root), keep=1))
    with store.publishing():
        part = store.add_adapter("medical", folder)
        collector.start()
        collector.join(0.2)
        assert collector.is_alive(), "gc did not wait for the lock"
        entry = replace(live.adapters["medical"], part=part)
        adapters = live.adapters | {"medical": entry}
        workshop.publish(store, backbone=live.backbone, adapters=adapters, router=live.router)
    collector.join()
    verify_release(store, store.live())
    assert store.adapter_versions()["medical"] == [part.version]
