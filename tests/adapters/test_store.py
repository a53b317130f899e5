"""Publishing is all or nothing, whatever happens to the publisher; readers see one whole release."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crma_adapters.errors import ConfigError, CrmaError, IncompatibleError, IntegrityError, StoreError
from crma_adapters.store.release import PINNED, AdapterEntry, Canary, Pointer, Release, RunsOn
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop


def publish_medical(store: Store, folder: Path) -> Release:
    """The live release with another `medical`."""
    with store.publishing():
        live = store.live()
        entry = replace(live.adapters["medical"], part=store.add_adapter("medical", folder))
        return store.publish(
            base_model=live.base_model,
            base_fingerprint=live.base_fingerprint,
            backbone=live.backbone,
            adapters=live.adapters | {"medical": entry},
            router=live.router,
        )


def other_medical(store: Store, workshop: "Workshop", seed: int) -> Path:
    backbone = store.live().backbone
    assert backbone is not None
    return workshop.adapter(seed=seed, backbone=backbone.version)


def snapshot(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


class TestReading:
    def test_a_missing_store_says_how_to_make_one(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "absent")
        for read in (store.live, store.releases, store.pointer):
            with pytest.raises(
                StoreError, match="absent is not a folder; make one with `crma-train --data DIR"
            ):
                read()

    def test_an_empty_store_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"has no release\.json; make one with `crma-train"):
            Store(tmp_path).live()

    def test_a_file_is_no_store(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(StoreError, match="is not a folder"):
            Store(tmp_path / "file").live()

    def test_documents_are_as_the_contract_has_them(self, store: Store) -> None:
        pointer = json.loads((store.root / "release.json").read_text())
        assert pointer == {"format": 1, "release": 1, "sha256": store.pointer().sha256}
        assert json.loads((store.root / "releases" / "0001.json").read_text())["number"] == 1

    def test_an_unknown_number_lists_those_there_are(self, store: Store) -> None:
        with pytest.raises(StoreError, match="has no release 7; expected one of: 1"):
            store.release(7)

    @pytest.mark.parametrize(
        "data", [b"", b"{", b'{"format": 1}', b'{"format": 1, "release": "1", "sha256": ""}']
    )
    def test_a_damaged_pointer(self, store: Store, data: bytes) -> None:
        (store.root / "release.json").write_bytes(data)
        with pytest.raises(IntegrityError, match=r"release\.json: "):
            store.live()

    def test_a_pointer_to_a_release_that_is_not_there(self, store: Store) -> None:
        (store.root / "release.json").write_bytes(Pointer(5, "0" * 64).to_json())
        with pytest.raises(StoreError, match=r"0005\.json: is missing"):
            store.live()

    def test_a_changed_release_document(self, store: Store) -> None:
        path = store.root / "releases" / "0001.json"
        path.write_text(path.read_text().replace("tiny-model", "evil-model"))
        with pytest.raises(IntegrityError, match=r"0001\.json: sha256 is .*rollback N"):
            store.live()

    def test_a_release_document_under_another_number(self, store: Store) -> None:
        shutil.copy(store.root / "releases" / "0001.json", store.root / "releases" / "0004.json")
        with pytest.raises(IntegrityError, match="is release 1 by its content"):
            store.release(4)

    @pytest.mark.parametrize("name", ["release.json", "releases/0001.json", "releases"])
    def test_a_symlinked_document(self, store: Store, tmp_path: Path, name: str) -> None:
        (store.root / name).rename(tmp_path / "outside")
        (store.root / name).symlink_to(tmp_path / "outside")
        with pytest.raises(IntegrityError, match="is a symlink"):
            store.live()

    def test_an_unknown_format(self, store: Store) -> None:
        (store.root / "release.json").write_text('{"format": 2, "anything": "else"}')
        with pytest.raises(IncompatibleError, match="format 2, expected 1; upgrade crma"):
            store.live()


class TestAdding:
    def test_the_same_content_is_the_same_version(self, workshop: "Workshop", tmp_path: Path) -> None:
        one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
        part = one.add_adapter("medical", workshop.adapter())
        before = snapshot(one.root)
        assert (
            one.add_adapter("medical", workshop.adapter())
            == part
            == two.add_adapter("medical", workshop.adapter())
        )
        assert snapshot(one.root) == before
        assert one.add_adapter("medical", workshop.adapter(seed=3)).version != part.version

    def test_other_files_of_the_source_stay_behind(self, workshop: "Workshop", tmp_path: Path) -> None:
        folder, store = workshop.adapter(), Store(tmp_path / "store")
        (folder / "README.md").write_text("written by PEFT")
        part = store.add_adapter("medical", folder)
        kept = sorted(path.name for path in store.adapter_dir("medical", part.version).iterdir())
        assert (
            kept == ["adapter.json", "adapter_config.json", "adapter_model.safetensors"] == sorted(part.files)
        )

    def test_a_damaged_version_is_restored(self, store: Store, workshop: "Workshop") -> None:
        live = store.live()
        folder = store.adapter_dir("medical", live.adapters["medical"].part.version)
        os.truncate(folder / "adapter_model.safetensors", 10)
        publish_medical(store, other_medical(store, workshop, seed=0))
        verify_release(store, store.live())
        assert store.live() == live

    @pytest.mark.parametrize(
        ("spoil", "told"),
        [
            (
                lambda folder: (folder / "adapter.json").unlink(),
                r"has no adapter\.json; expected an adapter folder",
            ),
            (lambda folder: (folder / "adapter_model.bin").write_bytes(b""), "is a pickle by its name"),
            (lambda folder: os.truncate(folder / "adapter_model.safetensors", 99), "truncated"),
            (lambda folder: os.truncate(folder / "adapter_model.safetensors", 0), "file of 0"),
            (lambda folder: shutil.rmtree(folder), "is missing"),
        ],
    )
    def test_what_could_not_be_served_is_not_taken(
        self, store: Store, workshop: "Workshop", spoil: Callable[[Path], Any], told: str
    ) -> None:
        folder, before = workshop.adapter(seed=8), snapshot(store.root)
        spoil(folder)
        with pytest.raises(StoreError, match=told):
            store.add_adapter("medical", folder)
        assert snapshot(store.root) == before

    def test_a_linked_source_file_is_not_taken(
        self, store: Store, workshop: "Workshop", tmp_path: Path
    ) -> None:
        folder = workshop.adapter(seed=8)
        (folder / "adapter_model.safetensors").rename(tmp_path / "blob")
        (folder / "adapter_model.safetensors").symlink_to(tmp_path / "blob")
        with pytest.raises(IntegrityError, match="is a symlink"):
            store.add_adapter("medical", folder)

    def test_nothing_is_written_through_a_linked_domain_folder(
        self, store: Store, workshop: "Workshop", tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        (store.root / "code").symlink_to(tmp_path / "outside")
        with pytest.raises(IntegrityError, match="code: is a symlink"):
            store.add_adapter("code", workshop.adapter("code"))
        assert not list((tmp_path / "outside").iterdir())

    def test_a_bad_name_is_refused(self, store: Store, workshop: "Workshop") -> None:
        with pytest.raises(StoreError, match=r"'\.\./medical' cannot be used"):
            store.add_adapter("../medical", workshop.adapter())


class TestPublishing:
    def test_releases_count_up_and_stay(self, store: Store, workshop: "Workshop") -> None:
        first = store.live()
        second = publish_medical(store, other_medical(store, workshop, seed=2))
        assert second.number == 2 and store.live() == second
        assert store.releases() == [first, second]
        assert second.adapters["legal"] == first.adapters["legal"]

    def test_what_is_live_is_not_published_again(self, store: Store, workshop: "Workshop") -> None:
        before = snapshot(store.root)
        assert publish_medical(store, other_medical(store, workshop, seed=0)) == store.live()
        assert snapshot(store.root) == before

    def test_what_does_not_fit_leaves_the_old_release(self, store: Store, workshop: "Workshop") -> None:
        live = store.live()
        with pytest.raises(IntegrityError, match="trained on backbone 000000000000, the release says"):
            publish_medical(store, workshop.adapter(seed=4, backbone="0" * 12))
        with pytest.raises(IncompatibleError, match="trained on tiny-model"):
            publish_medical(store, workshop.adapter(seed=4, fingerprint="cd" * 32))
        assert store.live() == live and len(store.releases()) == 1

    def test_a_release_of_nothing(self, store: Store, workshop: "Workshop") -> None:
        with pytest.raises(StoreError, match="a release needs a backbone or at least one adapter"):
            workshop.publish(store)

    def test_plain_loras_alone_make_a_release(self, workshop: "Workshop", tmp_path: Path) -> None:
        store = Store(tmp_path / "deep" / "store")
        part = store.add_adapter("medical", workshop.adapter())
        release = workshop.publish(store, adapters={"medical": AdapterEntry(part, None, None)})
        verify_release(store, release)

    def test_rollback_is_a_new_release_of_the_old_content(self, store: Store, workshop: "Workshop") -> None:
        first = store.live()
        publish_medical(store, other_medical(store, workshop, seed=2))
        back = store.rollback(1)
        assert (back.number, back.note) == (3, "rollback to release 1") and back.same_content(first)
        assert store.live() == back
        with pytest.raises(StoreError, match="has no release 9"):
            store.rollback(9)

    def test_rollback_to_a_damaged_release_is_refused(self, store: Store, workshop: "Workshop") -> None:
        folder = store.adapter_dir("medical", store.live().adapters["medical"].part.version)
        second = publish_medical(store, other_medical(store, workshop, seed=2))
        (folder / "adapter.json").unlink()
        with pytest.raises(StoreError, match="is missing"):
            store.rollback(1)
        assert store.live() == second

    @pytest.mark.parametrize("name", ["release.json", "releases/0002.json"])
    @pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
    def test_rollback_mends_damaged_documents(
        self, store: Store, workshop: "Workshop", name: str, damage: Callable[[Path], Any]
    ) -> None:
        first = store.live()
        publish_medical(store, other_medical(store, workshop, seed=2))
        damage(store.root / name)
        with pytest.raises(StoreError):
            store.live()
        assert store.rollback(1).same_content(first)
        assert store.live().number == 3

    def test_a_pointer_of_a_newer_format_is_not_overwritten(self, store: Store) -> None:
        (store.root / "release.json").write_text('{"format": 2}')
        with pytest.raises(IncompatibleError, match="format 2"):
            store.rollback(1)

    def test_a_full_disk_leaves_the_old_release(
        self, store: Store, workshop: "Workshop", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        live, folder = store.live(), other_medical(store, workshop, seed=2)

        def disk_full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", disk_full)
            with pytest.raises(
                StoreError, match=r"cannot be written.*No space left.*live release is unchanged"
            ):
                publish_medical(store, folder)
        assert store.live() == live
        assert publish_medical(store, folder).number == 2

    def test_a_store_that_cannot_be_made(self, workshop: "Workshop", tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(StoreError, match="cannot be written"):
            Store(tmp_path / "file" / "store").add_adapter("medical", workshop.adapter())


class TestCanary:
    def test_set_grown_promoted(self, store: Store, workshop: "Workshop") -> None:
        first = store.live()
        part = store.add_adapter("medical", other_medical(store, workshop, seed=2))
        second = store.set_canary("medical", part.version, weight=0.1)
        canary = Canary(part, first.adapters["medical"].trained_on_backbone, None, 0.1)
        assert second.number == 2 and store.live() == second
        assert second.adapters["medical"] == replace(first.adapters["medical"], canary=canary)
        assert second.note == f"canary medical@{part.version}, 0.1 of its sessions"
        verify_release(store, second)
        assert store.set_canary("medical", part.version, weight=0.1) == second
        assert store.set_canary("medical", part.version, weight=0.5).number == 3
        fourth = store.promote("medical")
        assert fourth.adapters["medical"].part == part and fourth.adapters["medical"].canary is None
        assert fourth.note == f"medical@{part.version} promoted" and store.live() == fourth
        assert store.rollback(2).adapters["medical"].canary == canary

    def test_dropped(self, store: Store, workshop: "Workshop") -> None:
        first = store.live()
        part = store.add_adapter("medical", other_medical(store, workshop, seed=2))
        store.set_canary("medical", part.version, weight=0.1)
        third = store.drop_canary("medical")
        assert third.number == 3 and third.same_content(first)
        with pytest.raises(StoreError, match="medical has no canary in release 3"):
            store.drop_canary("medical")
        with pytest.raises(StoreError, match="medical has no canary"):
            store.promote("medical")
        assert store.live() == third

    def test_one_trained_on_another_backbone_is_pinned_to_it(
        self, store: Store, workshop: "Workshop"
    ) -> None:
        first, part = store.live(), store.add_adapter("medical", workshop.adapter(seed=2))
        tried = store.set_canary("medical", part.version, weight=0.1)
        assert tried.format == 2 and tried.adapters["legal"] == first.placed().adapters["legal"]
        assert tried.adapters["medical"].canary == Canary(part, None, None, 0.1, RunsOn(None, PINNED))
        grown = store.set_canary("medical", part.version, weight=0.2)
        assert grown.adapters["medical"].canary == Canary(part, None, None, 0.2, RunsOn(None, PINNED))
        assert store.promote("medical").adapters["medical"] == AdapterEntry.pinned(part, None)
        other = workshop.adapter(seed=3, backbone="0" * 12)
        lost = store.add_adapter("medical", other).version
        with pytest.raises(StoreError, match="backbone 000000000000: not in the store"):
            store.set_canary("medical", lost, weight=0.1)

    def test_one_with_a_drift_runs_on_the_newest_and_keeps_it(
        self, store: Store, workshop: "Workshop"
    ) -> None:
        part = store.add_adapter("medical", workshop.adapter(seed=2))
        store.set_canary("medical", part.version, weight=0.1, drift=0.02)
        grown = store.set_canary("medical", part.version, weight=0.2)
        assert grown.adapters["medical"].canary == Canary(part, None, 0.02, 0.2)
        assert store.promote("medical").adapters["medical"] == AdapterEntry(part, None, 0.02)

    def test_what_cannot_be_a_canary(self, store: Store, workshop: "Workshop") -> None:
        live = store.live()
        version = live.adapters["medical"].part.version
        part = store.add_adapter("medical", other_medical(store, workshop, seed=2))
        code = store.add_adapter("code", workshop.adapter("code"))
        refusals: list[tuple[str, str, float, type[CrmaError], str]] = [
            ("medical", version, 0.1, StoreError, f"medical@{version} is live already"),
            ("medical", "0" * 12, 0.1, StoreError, "medical@0{12}: not in the store .*; expected one of: "),
            ("medical", "../../../etc", 0.1, StoreError, "is not one: expected 12 lower-case hex"),
            ("medical", part.version, 1.0, ConfigError, "expected a share between 0 and 1"),
            ("code", code.version, 0.1, StoreError, "code: no such adapter in release 1"),
            ("../medical", version, 0.1, StoreError, "no such adapter in release 1"),
        ]
        for name, given, weight, kind, told in refusals:
            with pytest.raises(kind, match=told):
                store.set_canary(name, given, weight=weight)
        assert store.live() == live

    def test_a_damaged_version_is_no_canary(self, store: Store, workshop: "Workshop", tmp_path: Path) -> None:
        live, part = store.live(), store.add_adapter("medical", other_medical(store, workshop, seed=2))
        folder = store.adapter_dir("medical", part.version)
        sound = (folder / "adapter_config.json").read_bytes()
        (folder / "adapter_config.json").write_bytes(sound + b" ")
        with pytest.raises(IntegrityError, match=r"version .* is not that of its files"):
            store.set_canary("medical", part.version, weight=0.1)
        (folder / "adapter_config.json").write_bytes(sound)
        folder.rename(tmp_path / "outside")
        folder.symlink_to(tmp_path / "outside")
        with pytest.raises(IntegrityError, match="is a symlink"):
            store.set_canary("medical", part.version, weight=0.1)
        assert store.live() == live


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and nothing on disk is tidied after it."""


class TestKilled:
    def test_at_every_step(
        self, workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sound = workshop.store()
        old, folder = sound.live(), other_medical(sound, workshop, seed=2)
        for step in range(1, 100):
            store = Store(tmp_path / f"copy-{step}")
            shutil.copytree(sound.root, store.root)
            with monkeypatch.context() as patch:
                kill_at(patch, step)
                try:
                    publish_medical(store, folder)
                    killed = False
                except Killed:
                    killed = True
            live = Store(store.root).live()
            verify_release(store, live)
            assert live == old or (live.number == 2 and not live.same_content(old))
            assert Store(store.root).releases()[-1] == live
            assert publish_medical(Store(store.root), folder).number == 2
            assert not list(store.root.glob(".tmp-*"))
            shutil.rmtree(store.root)
            if not killed:
                break
        assert not killed and step > 10

    def test_in_the_first_publication_at_every_step(
        self, workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = workshop.adapter()
        for step in range(1, 100):
            store = Store(tmp_path / f"new-{step}")
            try:
                with monkeypatch.context() as patch:
                    kill_at(patch, step)
                    publish_first(workshop, store, folder)
                break
            except Killed:
                assert publish_first(workshop, Store(store.root), folder).number == 1
                assert [release.number for release in Store(store.root).releases()] == [1]
        assert step > 10

    def test_at_random_by_sigkill(self, store: Store, workshop: "Workshop") -> None:
        folders = [str(other_medical(store, workshop, seed)) for seed in (2, 3)]
        script = Path(__file__).parent / "kill_publishers.py"
        done = subprocess.run(
            [sys.executable, str(script), str(store.root), "50", *folders],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"\d+ of \d+\n", done.stdout)


def publish_first(workshop: "Workshop", store: Store, folder: Path) -> Release:
    part = store.add_adapter("medical", folder)
    return workshop.publish(store, adapters={"medical": AdapterEntry(part, None, None)})


def kill_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Raise `Killed` instead of the `step`th flush or rename."""
    left = [step]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return call(*arguments)

        return run

    patch.setattr(os, "fsync", counted(os.fsync))
    patch.setattr(Path, "replace", counted(Path.replace))


def test_publishers_at_once_lose_nothing(store: Store, workshop: "Workshop") -> None:
    names = [f"domain{number}" for number in range(6)]
    backbone = store.live().backbone
    assert backbone is not None
    folders = {name: workshop.adapter(name, backbone=backbone.version) for name in names}

    def add(name: str) -> None:
        own = Store(store.root)
        with own.publishing():
            live = own.live()
            entry = AdapterEntry(own.add_adapter(name, folders[name]), backbone.version, None)
            workshop.publish(
                own, backbone=backbone, adapters=live.adapters | {name: entry}, router=live.router
            )

    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.live().adapters) == [*names, "legal", "medical"]
    assert store.live().number == 7


def test_a_reader_beside_a_publisher_always_sees_a_whole_release(store: Store, workshop: "Workshop") -> None:
    folders = [other_medical(store, workshop, seed) for seed in (2, 3)]
    done = threading.Event()

    def publish() -> None:
        for number in range(10):
            publish_medical(Store(store.root), folders[number % 2])
        done.set()

    publisher = threading.Thread(target=publish)
    publisher.start()
    numbers = []
    while not done.is_set():
        reader = Store(store.root)
        verify_release(reader, release := reader.live())
        numbers.append(release.number)
    publisher.join()
    assert numbers == sorted(numbers)
    assert store.live().number == 11
