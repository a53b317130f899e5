"""Files and folders appear whole or not at all, and one writer at a time has the lock."""

import os
from pathlib import Path

import pytest

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.io import durable


def test_a_file_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.write_durably(tmp_path, path, b"one")
    durable.write_durably(tmp_path, path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    durable.write_durably(tmp_path, path, b"one")

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        durable.write_durably(tmp_path, path, b"two")
    assert path.read_bytes() == b"one"
    durable.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_copied_by_name_and_moved_over_another(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "root"
    source.mkdir()
    root.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_bytes(name.encode() * 3_000_000)
    for _ in range(2):
        copied = durable.copy_folder_durably(root, source, ["a", "b"])
        durable.move_folder_durably(root, copied, root / "deep" / "target")
    assert sorted(path.name for path in root.iterdir()) == ["deep"]
    assert {path.name: path.read_bytes() for path in (root / "deep" / "target").iterdir()} == {
        "a": b"a" * 3_000_000,
        "b": b"b" * 3_000_000,
    }


def test_other_users_may_read_what_is_copied(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("x")
    copied = durable.copy_folder_durably(tmp_path, tmp_path / "source", ["a"])
    umask = os.umask(0)
    os.umask(umask)
    assert copied.stat().st_mode & 0o777 == 0o777 & ~umask
    assert (copied / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_nothing_is_copied_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").symlink_to("/etc/hostname")
    with pytest.raises(IntegrityError, match="is a symlink"):
        durable.copy_folder_durably(tmp_path, tmp_path / "source", ["a"])


def test_leftovers_are_removed_but_not_what_they_point_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / ".tmp-link").symlink_to(tmp_path / "kept")
    (tmp_path / ".tmp-folder" / "deep").mkdir(parents=True)
    (tmp_path / ".tmp-file").write_text("x")
    durable.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]


def test_the_lock_is_for_one(tmp_path: Path) -> None:
    held = r"another publisher has held \.lock for 0\.1 s"
    with (
        durable.locked(tmp_path),
        pytest.raises(StoreError, match=held),
        durable.locked(tmp_path, timeout_s=0.1),
    ):
        pass
    with durable.locked(tmp_path, timeout_s=0.1):
        pass


def test_a_waiting_writer_gets_the_lock_when_its_holder_dies(tmp_path: Path) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with durable.locked(tmp_path):
            os.write(write, b"x")
            os._exit(1)  # no unlocking: as a SIGKILL would
    os.read(read, 1)
    with durable.locked(tmp_path, timeout_s=10):
        os.waitpid(child, 0)
    os.close(read)
    os.close(write)
