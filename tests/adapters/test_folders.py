"""Where things lie, and what is found there."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_adapters.errors import StoreError
from crma_adapters.store.folders import PlainFolders, StoreFolders
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


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("poetry", "poetry"),
        ("Legal EU", "legal-eu"),
        ("My.Adapter", "my-adapter"),
        ("llama-3.2-legal-r8", "llama-3-2-legal-r8"),
        ("7b_legal", "lora-7b_legal"),
        ("Droit_français", "droit_francais"),
        ("org/My-Lora", "org-my-lora"),
        ("models--org--my.lora/snapshots/0123abcd", "my-lora"),
        ("x" * 80, "x" * 63),
    ],
)
def test_a_folder_is_served_under_the_nearest_name(
    store: Store, workshop: "Workshop", folder: str, name: str
) -> None:
    (store.root / folder).parent.mkdir(parents=True, exist_ok=True)
    workshop.adapter().rename(store.root / folder)
    assert store.plain_folders() == PlainFolders({name: store.root / folder}, {})


@pytest.mark.parametrize(("name", "why"), [("auto", "kept for something else"), ("2024", "has no letter")])
def test_what_no_name_is_left_for_is_left_out_and_the_rest_is_found(
    store: Store, workshop: "Workshop", name: str, why: str
) -> None:
    workshop.adapter().rename(store.root / name)
    workshop.adapter().rename(store.root / "poetry")
    found = store.plain_folders()
    assert list(found.adapters) == ["poetry"]
    assert why in found.left_out[store.root / name]
    assert "rename the folder" in found.left_out[store.root / name]


def test_two_folders_of_one_name(store: Store, workshop: "Workshop") -> None:
    workshop.adapter().rename(store.root / "Poetry")
    workshop.adapter().rename(store.root / "poetry")
    found = store.plain_folders()
    assert list(found.adapters) == ["poetry"]
    [(_, reason)] = found.left_out.items()
    assert "has the name 'poetry' already; rename one of the two" in reason


def test_a_plain_folder_may_not_hide_a_published_domain(store: Store, workshop: "Workshop") -> None:
    (workshop.adapter() / "adapter_config.json").rename(store.root / "medical" / "adapter_config.json")
    found = store.plain_folders()
    assert found.adapters == {}
    assert "'medical' is a published domain too" in found.left_out[store.root / "medical"]


def test_links_are_said(store: Store, workshop: "Workshop") -> None:
    """A linked folder, and a hub's cache copied with its links."""
    real = workshop.adapter()
    (store.root / "poetry").symlink_to(real)
    cached = store.root / "models--org--my-lora" / "snapshots" / "0123abcd"
    cached.mkdir(parents=True)
    for file in real.iterdir():
        (cached / file.name).symlink_to(file)
    found = store.plain_folders()
    assert found.adapters == {}
    assert set(found.left_out) == {store.root / "poetry", cached}
    assert all("is a link" in reason and "cp -rL" in reason for reason in found.left_out.values())


def test_a_missing_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a folder; make one with `crma-train --data DIR --adapters"):
        StoreFolders(tmp_path / "absent").plain_adapters()
