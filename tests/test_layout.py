"""The rules that hold the project's shape: imports point one way, vLLM stays in one folder."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "crma_adapters": ROOT / "adapters",
    "crma_router": ROOT / "router",
    "crma_training": ROOT / "training",
    "crma_server": ROOT / "server",
    "crma_eval": ROOT / "eval",
}
MAY_IMPORT = {
    "crma_adapters": set[str](),
    "crma_router": {"crma_adapters"},
    "crma_training": {"crma_adapters", "crma_router"},
    "crma_server": {"crma_adapters", "crma_router"},
    "crma_eval": {"crma_adapters", "crma_router", "crma_training"},
}


def _modules(package: str) -> list[Path]:
    return sorted((PACKAGES[package] / package).rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    modules = _modules(package)
    assert len(modules) > 1
    for path in modules:
        foreign = set(_imported(path)) & (PACKAGES.keys() - {package})
        assert foreign <= MAY_IMPORT[package], f"{path.name} imports {foreign - MAY_IMPORT[package]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_vllm_is_imported_in_one_folder_only(package: str) -> None:
    room = PACKAGES["crma_server"] / "crma_server" / "engine" / "vllm"
    for path in _modules(package):
        if room not in path.parents:
            assert "vllm" not in set(_imported(path)), path


def test_nothing_unpickles() -> None:
    for package in PACKAGES:
        for path in _modules(package):
            assert not {"pickle", "joblib", "dill", "cloudpickle"} & set(_imported(path)), path
            assert "torch.load(" not in path.read_text(encoding="utf-8"), path


def test_every_module_says_what_it_owns() -> None:
    for package in PACKAGES:
        for path in _modules(package):
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


def test_every_console_script_exists() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == {"crma-serve", "crma-train", "crma-eval", "crma-route", "crma-adapters"}
    for target in scripts.values():
        module, function = target.split(":")
        package = module.split(".")[0]
        path = PACKAGES[package].joinpath(*module.split(".")).with_suffix(".py")
        names = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        assert function in names, f"{target} is not there"
