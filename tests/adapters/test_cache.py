import threading
from pathlib import Path

import pytest

from crma_adapters.models.cache import cache_dir, make_once


def test_cache_variable_moves_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path))
    assert cache_dir("models", "x") == tmp_path / "models" / "x"


def test_make_once_fills_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def fill(folder: Path) -> None:
        calls.append(folder)
        (folder / "file").write_text("made")

    first, second = make_once(tmp_path / "a" / "made", fill), make_once(tmp_path / "a" / "made", fill)
    assert first == second and (first / "file").read_text() == "made" and len(calls) == 1


def test_a_failed_fill_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        make_once(tmp_path / "made", fill)
    assert list(tmp_path.iterdir()) == []


def test_racing_makers_end_with_one_whole_folder(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)

    def fill(folder: Path) -> None:
        barrier.wait(timeout=10)
        (folder / "file").write_text("whole")

    threads = [threading.Thread(target=make_once, args=(tmp_path / "made", fill)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.name for p in tmp_path.iterdir()] == ["made"]
    assert (tmp_path / "made" / "file").read_text() == "whole"
