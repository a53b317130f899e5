"""A store on an S3 server: read, published, rolled back, cut, damaged and taken away."""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_adapters.errors import ConflictError, IntegrityError, StoreAwayError, StoreError
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import Release
from crma_adapters.store.sources.opening import open_store
from crma_adapters.store.sources.remote import RemoteFiles
from crma_adapters.store.sources.remote_store import RemoteStore
from crma_adapters.store.sources.retry import until_no_conflict
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop
    from tests.adapters.sources.conftest import Bucket


def publish(store: Store, workshop: "Workshop", seed: int, name: str = "medical") -> Release:
    backbone = store.live().backbone
    assert backbone is not None
    folder = workshop.adapter(name, seed=seed, backbone=backbone.version)
    return publish_parts(store, Publication(adapters={name: folder}))


def test_what_a_copying_tool_put_there_is_read_and_verifies(bucket: "Bucket", workshop: "Workshop") -> None:
    folder = workshop.store()
    bucket.upload(folder.root)
    store = open_store(str(bucket.url), bucket.cache)
    assert store.live() == folder.live()
    verify_release(store, store.live())


def test_a_publication_is_live_for_every_other_reader(bucket: "Bucket", workshop: "Workshop") -> None:
    bucket.upload(workshop.store().root)
    one, two = synced(bucket.store("one")), synced(bucket.store("two"))
    release = publish(one, workshop, 1)
    assert release.number == 2
    assert two.live().number == 1
    assert two.mirror.sync()
    assert two.live() == release
    verify_release(two, two.live())
    assert not two.mirror.sync(), "nothing new"
    assert {name for name in bucket.names() if name.startswith("releases/")} == {
        "releases/0001.json",
        "releases/0002.json",
    }


def test_a_first_publication_makes_the_store(bucket: "Bucket", workshop: "Workshop") -> None:
    store = open_store(str(bucket.url), bucket.cache)
    with pytest.raises(StoreError, match=r"release\.json"):
        store.live()
    release = publish_parts(store, Publication(adapters={"medical": workshop.adapter()}))
    assert bucket.store("other").mirror.sync()
    assert release.number == 1


def test_rollback_canary_and_pin_find_parts_that_this_machine_never_had(
    bucket: "Bucket", workshop: "Workshop"
) -> None:
    bucket.upload(workshop.store().root)
    one = bucket.store("one")
    first = one.mirror.sync() and one.live()
    assert isinstance(first, Release)
    publish(one, workshop, 1)
    two = bucket.store("two")
    two.mirror.sync()
    version = first.adapters["medical"].part.version
    assert not two.adapter_dir("medical", version).exists()
    assert two.set_canary("medical", version, weight=0.5).number == 3
    back = bucket.store("three").rollback(1)
    assert (back.number, back.adapters) == (4, first.adapters)
    two.mirror.sync()
    assert two.live() == back


def test_earlier_releases_are_kept_with_their_parts(bucket: "Bucket", workshop: "Workshop") -> None:
    bucket.upload(workshop.store().root)
    one = synced(bucket.store("one"))
    for seed in (1, 2, 3):
        publish(one, workshop, seed)
    two = bucket.store("two", keep=3)
    two.mirror.sync()
    assert [release.number for release in two.releases()] == [1, 2, 3, 4]
    whole = [release.number for release in two.releases() if not two.missing_folders(release)]
    assert whole == [2, 3, 4]


def test_while_the_source_is_away_the_folder_stays_and_then_follows(
    bucket: "Bucket", workshop: "Workshop"
) -> None:
    bucket.upload(workshop.store().root)
    one, two = bucket.store("one"), bucket.store("two")
    one.mirror.sync()
    bucket.leave()
    try:
        with pytest.raises(StoreAwayError, match=r"s3://bucket-\d+/team/adapters/release.json: cannot be"):
            one.mirror.sync()
        verify_release(one, one.live())
        with pytest.raises(StoreAwayError):
            publish(one, workshop, 1)
        assert one.live().number == 1
    finally:
        bucket.come_back()
    assert publish(synced(two), workshop, 1).number == 2
    assert one.mirror.sync()
    assert one.live().number == 2


def synced(store: RemoteStore) -> RemoteStore:
    store.mirror.sync()
    return store


def test_a_damaged_object_is_refused_and_the_old_release_stays(
    bucket: "Bucket", workshop: "Workshop"
) -> None:
    bucket.upload(workshop.store().root)
    one, two = bucket.store("one"), bucket.store("two")
    two.mirror.sync()
    one.mirror.sync()
    release = publish(one, workshop, 1)
    name = f"medical/{release.adapters['medical'].part.version}/adapter_model.safetensors"
    sound = bucket.read(name)
    bucket.write(name, sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=f"{name}: sha256"):
        two.mirror.sync()
    assert two.live().number == 1
    verify_release(two, two.live())
    bucket.write(name, sound)
    assert two.mirror.sync()
    assert two.live() == release


def test_what_no_late_release_names_leaves_the_mirror_and_then_the_cache(
    bucket: "Bucket", workshop: "Workshop"
) -> None:
    store = workshop.store()
    publish(store, workshop, 1)
    bucket.upload(store.root)
    one = synced(bucket.store("one"))
    part = one.live().adapters["medical"].part
    blob = bucket.cache / "one" / "blobs" / part.files["adapter_model.safetensors"]
    for seed in range(2, 12):
        publish(store, workshop, seed)
    bucket.upload(store.root)
    assert one.adapter_dir("medical", part.version).is_dir()
    assert one.mirror.sync()
    assert not one.adapter_dir("medical", part.version).exists()
    assert blob.exists(), "another mirror may be about to link it"
    os.utime(blob, (0, 0))
    publish(store, workshop, 12)
    bucket.upload(store.root)
    assert one.mirror.sync()
    assert not blob.exists()
    verify_release(one, one.live())


def test_a_damaged_cache_mends_itself(bucket: "Bucket", workshop: "Workshop") -> None:
    bucket.upload(workshop.store().root)
    store = bucket.store()
    store.mirror.sync()
    weights = store.adapter_dir("medical", store.live().adapters["medical"].part.version)
    weights = weights / "adapter_model.safetensors"
    weights.write_bytes(b"cut")  # the cached file too: it is the same one
    with pytest.raises(StoreError):
        verify_release(store, store.live())
    again = bucket.store()
    again.mirror.sync()
    verify_release(again, again.live())


def test_publishing_what_another_overtook_changes_nothing(bucket: "Bucket", workshop: "Workshop") -> None:
    bucket.upload(workshop.store().root)
    one, two = bucket.store("one"), bucket.store("two")
    with pytest.raises(ConflictError, match="another publisher"), one.publishing():
        one.live()
        publish(synced(two), workshop, 2)
        publish(one, workshop, 1, "legal")
    one.mirror.sync()
    assert one.live().number == 2
    assert until_no_conflict(lambda: publish(one, workshop, 1, "legal")).number == 3
    assert [name for name in bucket.names() if name.count(".") > 1] == []


def test_publishers_at_once_lose_no_release(bucket: "Bucket", workshop: "Workshop") -> None:
    bucket.upload(workshop.store().root)
    drafts = {f"d{number}": workshop.adapter(f"d{number}", seed=number) for number in range(6)}
    failed: list[BaseException] = []

    def run(name: str, folder: Path) -> None:
        try:
            until_no_conflict(
                lambda: publish_parts(bucket.store(name), Publication(adapters={name: folder})), tries=20
            )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=item) for item in drafts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    reader = bucket.store("reader", keep=10)
    reader.mirror.sync()
    live = reader.live()
    assert live.number == 7
    assert live.adapters.keys() == {"legal", "medical", *drafts}
    verify_release(reader, live)
    for number in range(1, 8):
        verify_release(reader, reader.release(number))
    sizes = [len(release.adapters) for release in reader.releases()]
    assert sizes == [2, 3, 4, 5, 6, 7, 8], "each release has what the one before it had"


@pytest.mark.parametrize("step", ["candidate", "pointer", "document"])
def test_a_publisher_killed_at_any_step_leaves_a_whole_store(
    bucket: "Bucket", workshop: "Workshop", step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.upload(workshop.store().root)
    one, two = bucket.store("one"), bucket.store("two")
    write, replace = RemoteFiles.write, RemoteFiles.replace

    class Killed(BaseException):
        pass

    def dies_writing(self: RemoteFiles, name: str, data: bytes) -> None:
        if (step, name) == ("document", "releases/0002.json") or (
            step == "candidate" and name.startswith("releases/")
        ):
            raise Killed
        write(self, name, data)

    def dies_replacing(self: RemoteFiles, name: str, data: bytes, etag: str | None) -> object:
        if step == "pointer" and name == "release.json":
            raise Killed
        return replace(self, name, data, etag)

    with monkeypatch.context() as patched:
        patched.setattr(RemoteFiles, "write", dies_writing)
        patched.setattr(RemoteFiles, "replace", dies_replacing)
        with pytest.raises(Killed):
            publish(synced(one), workshop, 1)
    two.mirror.sync()
    verify_release(two, two.live())
    assert two.live().number == (2 if step == "document" else 1)
    after = publish(two, workshop, 2)
    assert after.number == (3 if step == "document" else 2)
    three = bucket.store("three", keep=3)
    three.mirror.sync()
    assert [release.number for release in three.releases()] == list(range(1, after.number + 1))
    for release in three.releases():
        verify_release(three, release)


def test_a_lost_or_damaged_pointer_is_mended_by_publishing(bucket: "Bucket", workshop: "Workshop") -> None:
    bucket.upload(workshop.store().root)
    one = bucket.store("one")
    one.mirror.sync()
    publish(one, workshop, 1)
    bucket.write("release.json", b"{")
    with pytest.raises(IntegrityError, match=r"release\.json"):
        bucket.store("two").mirror.sync()
    assert bucket.store("three").rollback(2).number == 3
    bucket.client.delete_object(**bucket.key("release.json"))
    assert bucket.store("four").rollback(2).number == 4


def test_a_server_that_ignores_conditions_is_not_published_to(
    bucket: "Bucket", workshop: "Workshop", monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.upload(workshop.store().root)
    put = RemoteFiles._put
    monkeypatch.setattr(RemoteFiles, "_put", lambda self, name, data, **_: put(self, name, data))
    with pytest.raises(StoreError, match="If-None-Match"):
        publish(synced(bucket.store()), workshop, 1)


def test_a_store_made_anew_is_followed(bucket: "Bucket", workshop: "Workshop") -> None:
    bucket.upload(workshop.store().root)
    one = bucket.store("one")
    one.mirror.sync()
    publish(one, workshop, 1)
    for name in bucket.names():
        bucket.client.delete_object(**bucket.key(name))
    fresh = Store(workshop.root / "fresh")
    publish_parts(fresh, Publication(adapters={"science": workshop.adapter("science", seed=9)}))
    bucket.upload(fresh.root)
    assert one.mirror.sync()
    assert one.live() == fresh.live()
    verify_release(one, one.live())
