"""Where things lie, and what is found there."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.store.folders import StoreFolders
from crma_adapters.store.store import Store

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop

VERSION = "0123456789ab"


def test_paths(tmp_path: Path) -> None:
    folders = StoreFolders(tmp_path)
    assert folders.adapter_dir("medical", VERSION) == tmp_path / "medical" / VERSION
    assert folders.backbone_dir(VERSION) == tmp_path / "backbone" / VERSION
    assert folders.router_dir(VERSION) == tmp_path / "router" / VERSION


@pytest.mark.parametrize(
    ("name", "version"), [("..", VERSION), ("medical", ".."), ("a/b", VERSION), ("router", VERSION)]
)
def test_no_path_leads_out(tmp_path: Path, name: str, version: str) -> None:
    with pytest.raises(StoreError):
        StoreFolders(tmp_path).adapter_dir(name, version)


def test_versions_are_found_in_a_release_or_not(store: Store, workshop: "Workshop") -> None:
    live = store.live().adapters["medical"].part.version
    new = store.add_adapter("medical", workshop.adapter(seed=9)).version
    (store.root / "crma_adapters").mkdir()  # code may lie beside: it does in this project's own store
    (store.root / "medical" / "notes").mkdir()
    found = store.adapter_versions()
    assert found["medical"] == sorted([live, new])
    assert list(found) == ["legal", "medical"]


def test_plain_folders_are_found(store: Store, workshop: "Workshop") -> None:
    workshop.adapter().rename(store.root / "poetry")
    workshop.adapter().rename(store.root / ".tmp-left")
    assert store.plain_adapters() == {"poetry": store.root / "poetry"}


@pytest.mark.parametrize("name", ["My-Adapter", "auto", "router2.0"])
def test_a_plain_folder_that_needs_another_name(store: Store, workshop: "Workshop", name: str) -> None:
    workshop.adapter().rename(store.root / name)
    with pytest.raises(StoreError, match=f"domain name '{name}' cannot be used.*rename it"):
        store.plain_adapters()


def test_a_plain_folder_may_not_hide_a_published_domain(store: Store, workshop: "Workshop") -> None:
    (workshop.adapter() / "adapter_config.json").rename(store.root / "medical" / "adapter_config.json")
    with pytest.raises(StoreError, match="medical: is a plain adapter and a published domain"):
        store.plain_adapters()


def test_a_linked_plain_folder(store: Store, workshop: "Workshop") -> None:
    (store.root / "poetry").symlink_to(workshop.adapter())
    with pytest.raises(IntegrityError, match="poetry: is a symlink"):
        store.plain_adapters()


def test_a_missing_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a folder; make one with `crma-train --data DIR --adapters"):
        StoreFolders(tmp_path / "absent").plain_adapters()
