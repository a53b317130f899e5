import subprocess
import zipfile
from pathlib import Path

import pytest

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.models.pypi_files import Package, fetch_package, sha256_file


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder pip installs from, through pip's own configuration, with one wheel in it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tinydata-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinydata/data.txt", "content")
        wheel.writestr(
            "tinydata-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n"
        )
        wheel.writestr("tinydata-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tinydata-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def _pinned(index: Path) -> Package:
    return Package("tinydata", "1.0", sha256_file(next(index.glob("*.whl"))))


def test_fetches_through_pips_own_configuration(index: Path) -> None:
    folder = fetch_package(_pinned(index))
    assert (folder / "tinydata" / "data.txt").read_text() == "content"
    assert not list(folder.glob("*.whl"))


def test_second_fetch_needs_no_pip(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _pinned(index)
    fetch_package(package)

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("pip was called again")

    monkeypatch.setattr(subprocess, "run", refuse)
    fetch_package(package)


@pytest.mark.usefixtures("index")
def test_another_file_under_the_same_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"tinydata-1\.0.*expected 0000"):
        fetch_package(Package("tinydata", "1.0", "0" * 64))
    assert not any((tmp_path / "cache" / "packages").iterdir())


@pytest.mark.usefixtures("index")
def test_missing_package_says_what_to_do() -> None:
    with pytest.raises(StoreError, match=r"could not download nothere==9.*pip config list"):
        fetch_package(Package("nothere", "9", "0" * 64))
