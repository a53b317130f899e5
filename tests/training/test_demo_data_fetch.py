"""Archives come through pip, are the pinned file or are refused."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_training.demo_data.cli import main
from crma_training.demo_data.fetch import Archives, fetch
from crma_training.demo_data.packages import CURRENCIES, Package


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source of packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def wheel(folder: Path) -> Package:
    """A tiny wheel in `folder`."""
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny/data.txt", "hello")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Package("tiny", "1.0", path.name, sha256, "MIT", "a test")


def test_fetches_once_and_reads_members(index: Path, tmp_path: Path) -> None:
    package = wheel(index)
    fetch([package], tmp_path / "cache")
    (index / package.archive).unlink()  # a second fetch must not need it
    archives = fetch([package], tmp_path / "cache")

    assert archives.read(package, "tiny/data.txt") == b"hello"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [package.archive]


def test_another_file_than_the_pinned_one_is_refused(index: Path, tmp_path: Path) -> None:
    package = wheel(index)
    pinned = Package("tiny", "1.0", package.archive, "0" * 64, "MIT", "a test")

    with pytest.raises(DataError, match="the index serves another file"):
        fetch([pinned], tmp_path / "cache")
    assert not (tmp_path / "cache" / package.archive).exists()


def test_a_damaged_archive_in_the_cache_is_fetched_again(index: Path, tmp_path: Path) -> None:
    package = wheel(index)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / package.archive).write_bytes(b"half a downl")

    archives = fetch([package], tmp_path / "cache")

    assert archives.read(package, "tiny/data.txt") == b"hello"


def test_a_missing_member_is_an_error_that_names_it(tmp_path: Path) -> None:
    wheel(tmp_path)
    with pytest.raises(DataError, match=r"cannot read table\.xml"):
        Archives(tmp_path).read(CURRENCIES, "table.xml")


@pytest.mark.usefixtures("index")
def test_without_an_index_the_command_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path / "crma"))

    assert main([str(tmp_path / "demo")]) == 2

    message = capsys.readouterr().err
    assert "cannot fetch simple-icd-10-cm==1.5.0 with pip" in message
    assert "a package index is needed once" in message
    assert not (tmp_path / "demo").exists()
