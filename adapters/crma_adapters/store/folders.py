"""Where things lie in a store, and what lies there.

    <domain>/<version>/          a published adapter; backbone/<version>/ and router/<version>/ likewise
    <name>/adapter_config.json   a plain PEFT LoRA somebody dropped in; also <org>/<name>/adapter_config.json

Owns: paths and listing. Opens no file; whether something may be served is `verify`'s to say.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import StoreError
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.store.names import (
    check_domain_name,
    check_version,
    domain_name_for,
    is_domain_name,
    is_version,
)

# As deep as a hub's cache: models--org--name/snapshots/<commit>.
_DEEPEST = 4


@dataclass(frozen=True)
class PlainFolders:
    """What was dropped into a store: by the name it is served under, and what is left out and why."""

    adapters: dict[str, Path]
    left_out: dict[Path, str]


class StoreFolders:
    """The folders of the store at `root`. No path it gives leads out of `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def adapter_dir(self, name: str, version: str) -> Path:
        """Where an adapter lies. Raises `StoreError` for a name or version that cannot be one."""
        return self.root / check_domain_name(name) / check_version(version)

    def backbone_dir(self, version: str) -> Path:
        """Where a backbone lies. Raises as `adapter_dir`."""
        return self.root / "backbone" / check_version(version)

    def router_dir(self, version: str) -> Path:
        """Where a router lies. Raises as `adapter_dir`."""
        return self.root / "router" / check_version(version)

    def adapter_versions(self) -> dict[str, list[str]]:
        """Every published adapter version in the store, in a release or not, by domain."""
        found = {
            folder.name: sorted(path.name for path in folder.iterdir() if is_version(path.name))
            for folder in self._folders()
            if is_domain_name(folder.name)
        }
        return {name: versions for name, versions in found.items() if versions}

    def plain_adapters(self) -> dict[str, Path]:
        """Plain PEFT folders that can be served as far as their place says; see `plain_folders`."""
        return self.plain_folders().adapters

    def plain_folders(self) -> "PlainFolders":
        """Plain PEFT folders dropped into the store, up to four folders deep, by the name they are served by.

        A folder whose name no domain may bear gets the nearest one that may. What stands in the way of
        others, or holds links (which may lead anywhere), is left out, each with the reason.
        """
        published, found, left_out = self.adapter_versions(), dict[str, Path](), dict[Path, str]()
        for folder in self._plain_candidates():
            name = domain_name_for(folder.relative_to(self.root))
            if linked := _first_link(self.root, folder):
                left_out[folder] = (
                    f"{linked} is a link; expected the folder and its files themselves: copy it with `cp -rL`"
                )
            elif name is None:
                left_out[folder] = "its name is kept for something else or has no letter; rename the folder"
            elif name in published:
                left_out[folder] = f"{name!r} is a published domain too; rename the folder"
            elif name in found:
                left_out[folder] = f"{found[name]} has the name {name!r} already; rename one of the two"
            else:
                found[name] = folder
        return PlainFolders(found, left_out)

    def _plain_candidates(self) -> list[Path]:
        """Folders with a PEFT configuration, links too; none inside another or inside published parts."""
        found, level = list[Path](), self._folders()
        for _ in range(_DEEPEST):
            below: list[Path] = []
            for folder in level:
                if os.path.lexists(folder / CONFIG_FILE):
                    found.append(folder)
                elif not folder.is_symlink():
                    below += [path for path in _subfolders(folder) if not is_version(path.name)]
            level = below
        return found

    def check_root(self) -> None:
        """Raise `StoreError`, telling how to make a store, if there is no such folder."""
        if not self.root.is_dir():
            raise StoreError(f"store {self.root} is not a folder; {how_to_make(self.root)}")

    def _folders(self) -> list[Path]:
        self.check_root()
        return sorted(_subfolders(self.root))


def _subfolders(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except PermissionError:
        return


def _first_link(root: Path, folder: Path) -> Path | None:
    """The first link on the way from `root` to `folder` or among the files of a LoRA in it."""
    steps = [path for path in (folder, *folder.parents) if path != root and path.is_relative_to(root)]
    files = (folder / CONFIG_FILE, folder / WEIGHTS_FILE)
    return next((path for path in (*reversed(steps), *files) if path.is_symlink()), None)


def how_to_make(root: Path) -> str:
    """What a message tells a user whose store is missing or empty."""
    return f"make one with `crma-train --data DIR --adapters {root}`, or give the right folder to --adapters"
