"""A folder is a part only with exactly its files."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_adapters.errors import IntegrityError
from crma_adapters.io.regular_files import sha256_file
from crma_adapters.store.names import version_of
from crma_adapters.store.parts import ADAPTER, BACKBONE, check_part, describe_part
from crma_adapters.store.release import Part

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop


LORA_FILES = ("adapter.json", "adapter_config.json", "adapter_model.safetensors")


def test_a_part_is_its_files_and_their_digests(workshop: "Workshop") -> None:
    folder = workshop.adapter()
    (folder / "README.md").write_text("no part of it")
    part = describe_part(folder, ADAPTER)
    assert part.files == {name: sha256_file(folder / name) for name in LORA_FILES}
    assert part.version == version_of(part.files)


def test_a_release_that_names_other_files(workshop: "Workshop") -> None:
    folder = workshop.backbone()
    part = describe_part(folder, BACKBONE)
    check_part(folder.parent, folder, part, BACKBONE)
    fewer = {"crma.json": part.files["crma.json"]}
    with pytest.raises(
        IntegrityError, match=r"release names \['crma.json'\] for .*; expected \['crma.json', 'crma.saf"
    ):
        check_part(folder.parent, folder, Part(version_of(fewer), fewer), BACKBONE)


def test_a_part_outside_the_root(workshop: "Workshop", tmp_path: Path) -> None:
    folder = workshop.backbone()
    with pytest.raises(IntegrityError, match="expected a path inside it"):
        check_part(tmp_path / "elsewhere", folder, describe_part(folder, BACKBONE), BACKBONE)
