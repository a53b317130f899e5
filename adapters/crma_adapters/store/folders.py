"""Where things lie in a store, and what lies there.

    <domain>/<version>/          a published adapter; backbone/<version>/ and router/<version>/ likewise
    <name>/adapter_config.json   a plain PEFT LoRA somebody dropped in

Owns: paths and listing. Opens no file; whether something may be served is `verify`'s to say.
"""

from pathlib import Path

from crma_adapters.errors import StoreError
from crma_adapters.io.regular_files import check_no_symlink
from crma_adapters.lora.lora_files import CONFIG_FILE
from crma_adapters.store.names import check_domain_name, check_version, is_domain_name, is_version


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
        """Plain PEFT folders dropped into the store, by name; `verify_plain` says whether one may be served.

        Raises `StoreError` for one whose name no domain may bear or that is a published domain too, and
        `IntegrityError` for one that is a symlink.
        """
        published = self.adapter_versions()
        found: dict[str, Path] = {}
        for folder in self._folders():
            if not (folder / CONFIG_FILE).exists():
                continue
            check_no_symlink(self.root, folder)
            if check_domain_name(folder.name) in published:
                raise StoreError(
                    f"{folder}: is a plain adapter and a published domain; move {CONFIG_FILE} elsewhere"
                )
            found[folder.name] = folder
        return found

    def check_root(self) -> None:
        """Raise `StoreError`, telling how to make a store, if there is no such folder."""
        if not self.root.is_dir():
            raise StoreError(f"store {self.root} is not a folder; {how_to_make(self.root)}")

    def _folders(self) -> list[Path]:
        self.check_root()
        return sorted(path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))


def how_to_make(root: Path) -> str:
    """What a message tells a user whose store is missing or empty."""
    return f"make one with `crma-train --data DIR --adapters {root}`, or give the right folder to --adapters"
