"""A folder is written whole or not at all, and what is not ours stays."""

import shutil
from pathlib import Path

import pytest

from crma_adapters.errors import StoreError
from crma_adapters.io.whole_folder import write_folder

FILES = {"a.json": b"{}", "b.bin": b"\x00" * 5000}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_writes_into_nothing_and_into_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "deep" / "er" / "new", tmp_path / "empty"):
        write_folder(target, FILES)
        assert content(target) == FILES
        assert [path.name for path in target.parent.iterdir() if path.name.startswith(".")] == []


def test_the_same_content_is_not_written_again(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", FILES)
    before = (tmp_path / "out").stat().st_ino
    write_folder(tmp_path / "out", FILES)
    assert (tmp_path / "out").stat().st_ino == before


def test_older_versions_are_replaced(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", FILES | {"a.json": b"old"})
    write_folder(tmp_path / "out", FILES)
    assert content(tmp_path / "out") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match=r"holds thesis\.txt"):
        write_folder(folder, FILES)
    assert content(folder) == {"thesis.txt": b"years of work"}
    with pytest.raises(StoreError, match="is no folder"):
        write_folder(folder / "thesis.txt", FILES)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(StoreError, match="is no folder"):
        write_folder(tmp_path / "link", FILES)


def test_another_writer_that_came_first_with_the_same_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race between two servers composing one bundle: the loser finds it there."""
    target = tmp_path / "out"

    def lose_the_race(_root: Path, folder: Path, target: Path) -> None:
        shutil.copytree(folder, target)
        folder.rename(target)  # as os.rename does onto a folder that is not empty

    monkeypatch.setattr("crma_adapters.io.whole_folder.move_folder_durably", lose_the_race)
    write_folder(target, FILES)
    assert content(target) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_folder(tmp_path / "file" / "out", FILES)
