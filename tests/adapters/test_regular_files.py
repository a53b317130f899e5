"""Only regular files are read, and nothing through a symlink below the root."""

import hashlib
import os
from pathlib import Path

import pytest

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.io.document import MAX_DOCUMENT_BYTES
from crma_adapters.io.regular_files import (
    check_no_symlink,
    list_folder,
    open_regular,
    read_document,
    sha256_file,
)


def test_a_file_is_read_and_digested(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert read_document(path) == b"x" * 3_000_000
    assert sha256_file(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    for name, told in {
        "folder": "not a regular file",
        "link": "is a symlink",
        "fifo": "not a regular file",
    }.items():
        with pytest.raises(IntegrityError, match=f"{name}: .*{told}"):
            open_regular(tmp_path / name)
    with pytest.raises(StoreError, match="absent: is missing"):
        open_regular(tmp_path / "absent")
    with pytest.raises(StoreError, match="cannot be read"):
        open_regular(tmp_path / "real" / "below")


def test_an_oversized_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    path.write_bytes(b" " * (MAX_DOCUMENT_BYTES + 1))
    with pytest.raises(IntegrityError, match="expected a small JSON document"):
        read_document(path)


def test_symlinks_count_below_the_root_only(tmp_path: Path) -> None:
    (tmp_path / "real" / "a").mkdir(parents=True)
    root = tmp_path / "root"
    root.symlink_to(tmp_path / "real")
    check_no_symlink(root, root / "a" / "absent")
    (root / "b").symlink_to(tmp_path / "real" / "a")
    with pytest.raises(IntegrityError, match="root/b: is a symlink"):
        check_no_symlink(root, root / "b" / "file")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd"])
def test_a_path_out_of_the_root_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(IntegrityError, match="expected a path inside it"):
        check_no_symlink(tmp_path, tmp_path / path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert list_folder(tmp_path) == ["file"]
    with pytest.raises(StoreError, match="is missing"):
        list_folder(tmp_path / "absent")
    with pytest.raises(StoreError, match="cannot be read as a folder"):
        list_folder(tmp_path / "file")
