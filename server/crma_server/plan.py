"""What one server is to serve, settled before the engine starts.

Owns: turning a checked store into a catalog, bundles and a router folder. Knows nothing of the engine.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crma_adapters.backbone import read_backbone_card
from crma_adapters.names import version_of
from crma_adapters.release import Part, Release
from crma_router.router import Router
from crma_server.bundles import Bundle, Source, make_bundle
from crma_server.catalog import Catalog, Entry, adapter_entry, backbone_entry
from crma_server.contents import Contents

PLAIN_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class ServePlan:
    """Everything the HTTP side needs. Travels to every API server process: those load the router again."""

    catalog: Catalog
    bundles: tuple[Bundle, ...]
    router_dir: Path | None
    release: Release | None
    router: Router | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"router": None}

    def with_router(self) -> "ServePlan":
        """This plan with its router loaded, if it has one. Raises `RouterError` if it cannot be."""
        if self.router is not None or self.router_dir is None:
            return self
        return replace(self, router=Router.load(self.router_dir))


def make_plan(contents: Contents, served_names: list[str]) -> ServePlan:
    """Name everything in the store and compose what the engine will load.

    Raises:
        ConfigError: a served name is also an adapter's.
        IntegrityError: a part changed on disk since it was verified.
    """
    backbone = _backbone(contents)
    loras = _loras(contents)
    entries = {name: _entry(contents, name, source, backbone) for name, source in loras.items()}
    catalog = Catalog(
        entries, backbone_entry(backbone.part.version) if backbone else None, served_names=served_names
    )
    release = contents.release
    return ServePlan(
        catalog=catalog,
        bundles=tuple(_bundles(catalog, loras, backbone)),
        router_dir=contents.store.router_dir(release.router.version) if release and release.router else None,
        release=release,
    )


def largest_rank(contents: Contents) -> int:
    """The largest LoRA rank the engine will meet; at least the number of CRMA streams, its folded rank."""
    ranks = [_rank(source.path / "adapter_config.json") for source in _loras(contents).values()]
    if (backbone := _backbone(contents)) is not None:
        ranks.append(read_backbone_card(backbone.path).config.streams)
    return max(ranks, default=1)


def _rank(config: Path) -> int:
    document = json.loads(config.read_bytes())
    return max(int(document["r"]), *map(int, (document.get("rank_pattern") or {}).values()), 0)


def _backbone(contents: Contents) -> Source | None:
    release = contents.release
    if release is None or release.backbone is None:
        return None
    return Source(contents.store.backbone_dir(release.backbone.version), release.backbone)


def _loras(contents: Contents) -> dict[str, Source]:
    sources = {}
    for name, entry in (contents.release.adapters if contents.release else {}).items():
        sources[name] = Source(contents.store.adapter_dir(name, entry.part.version), entry.part)
    for name, path in contents.plain.items():
        files = {file: hashlib.sha256((path / file).read_bytes()).hexdigest() for file in PLAIN_FILES}
        sources[name] = Source(path, Part(version_of(files), files))
    return sources


def _entry(contents: Contents, name: str, source: Source, backbone: Source | None) -> Entry:
    # A plain folder was trained without this release's CRMA, so it is served as it is.
    crma = None if name in contents.plain or backbone is None else backbone.part.version
    return adapter_entry(name, source.part.version, crma)


def _bundles(catalog: Catalog, loras: dict[str, Source], backbone: Source | None) -> Iterator[Bundle]:
    taken: set[int] = set()
    for target in catalog.targets():
        bundle = make_bundle(
            target.engine_model, loras.get(target.adapter), backbone if target.backbone else None, taken
        )
        taken.add(bundle.lora_id)
        yield bundle
