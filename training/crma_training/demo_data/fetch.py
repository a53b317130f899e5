"""Fetching pinned archives into a cache folder, and reading members without unpacking them."""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from crma_adapters.errors import DataError
from crma_adapters.models.pypi_files import sha256_file
from crma_training.demo_data.packages import Package

FETCH_TIMEOUT_S = 1800


class Archives:
    """Read access to verified archives, by package."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, package: Package, member: str) -> bytes:
        """Bytes of `member`, a path inside the archive. Raises DataError if it is not there."""
        path = self._folder / package.archive
        try:
            if path.suffix == ".whl":
                with zipfile.ZipFile(path) as wheel:
                    return wheel.read(member)
            with tarfile.open(path) as sdist:
                extracted = sdist.extractfile(member)
                if extracted is None:
                    raise KeyError(member)
                return extracted.read()
        except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise DataError(
                f"cannot read {member} from {path}: {error}; delete the file and try again"
            ) from error

    def names(self, package: Package) -> list[str]:
        """Member names of a wheel, sorted."""
        with zipfile.ZipFile(self._folder / package.archive) as wheel:
            return sorted(wheel.namelist())

    def nested(self, package: Package, member: str) -> zipfile.ZipFile:
        """A zip (or jar) inside a wheel, opened in memory."""
        return zipfile.ZipFile(io.BytesIO(self.read(package, member)))


def fetch(packages: Iterable[Package], folder: Path) -> Archives:
    """Makes sure that every archive lies in `folder` with its pinned digest.

    Raises DataError if one cannot be downloaded or is not the pinned file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    progress = tqdm(list(packages), desc="fetch", unit="package")
    for package in progress:
        progress.set_postfix_str(package.source)
        target = folder / package.archive
        if not (target.exists() and sha256_file(target) == package.sha256):
            _download(package, target)
    return Archives(folder)


def _download(package: Package, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        # A wheel runs no code when fetched; an sdist is asked for only where a package has nothing else.
        form = "--only-binary=:all:" if target.suffix == ".whl" else f"--no-binary={package.name}"
        command += [form, "--dest", scratch, package.source]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DataError(_unfetched(package, target.parent, str(error))) from error
        fetched = Path(scratch) / package.archive
        if done.returncode != 0 or not fetched.exists():
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
                done.stderr.strip()
            ]
            raise DataError(_unfetched(package, target.parent, lines[0] or "pip brought another file"))
        found = sha256_file(fetched)
        if found != package.sha256:
            raise DataError(
                f"{package.archive} has sha256 {found}, expected {package.sha256}: "
                "the index serves another file; point pip at an index that serves the pinned release"
            )
        fetched.replace(target)


def _unfetched(package: Package, folder: Path, reason: str) -> str:
    return (
        f"cannot fetch {package.source} with pip: {reason}; a package index is needed once: "
        f"check the network and pip's configuration, or put {package.archive} into {folder}"
    )
