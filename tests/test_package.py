"""What the built package would hold, asked of the build backend without building."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "crma_adapters": "adapters",
    "crma_router": "router",
    "crma_training": "training",
    "crma_server": "server",
    "crma_eval": "eval",
}


@pytest.fixture(scope="module")
def wheel() -> set[str]:
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is part of crma[dev]")
    builder = wheel.WheelBuilder(str(ROOT))
    return {Path(file.distribution_path).as_posix() for file in builder.recurse_included_files()}


def test_it_has_the_dashboard(wheel: set[str]) -> None:
    folder = ROOT / "server" / "crma_server" / "dashboard" / "static"
    pages = {f"crma_server/dashboard/static/{path.name}" for path in folder.iterdir() if path.is_file()}
    assert any(page.endswith(".html") for page in pages)
    assert pages <= wheel


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asks git which files are the project's")
def test_it_has_every_file_of_every_package_and_no_other(wheel: set[str]) -> None:
    for package, place in PACKAGES.items():
        folder = ROOT / place
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", package],
            cwd=folder, check=True, capture_output=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        files = {file for file in listed if file and (folder / file).is_file()}
        assert {file for file in wheel if file.startswith(f"{package}/")} == files
    assert {file.split("/")[0] for file in wheel} == PACKAGES.keys()
