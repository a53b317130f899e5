"""What one server is to serve, settled before the engine starts.

Owns: turning a checked store into a catalog, bundles and a router folder. Knows nothing of the engine.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from crma_adapters.backbone import read_backbone_card
from crma_adapters.lora_files import CONFIG_FILE, WEIGHTS_FILE, read_config
from crma_adapters.names import version_of
from crma_adapters.regular_files import sha256_file
from crma_adapters.release import Part, Release
from crma_server.bundles import Bundle, Source, make_bundle
from crma_server.catalog import Catalog, Entry, adapter_entry, backbone_entry
from crma_server.contents import Contents
from crma_server.pending_router import PendingRouter


@dataclass(frozen=True)
class ServePlan:
    """Everything the HTTP side needs. It travels to every API server process vLLM starts."""

    catalog: Catalog
    bundles: tuple[Bundle, ...]
    router: PendingRouter | None
    release: Release | None


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
    return ServePlan(
        catalog=catalog,
        bundles=tuple(_bundles(catalog, loras, backbone)),
        router=PendingRouter(contents.router_dir) if contents.router_dir else None,
        release=contents.release,
    )


def largest_rank(contents: Contents) -> int:
    """The largest LoRA rank the engine will meet; at least the number of CRMA streams, its folded rank."""
    ranks = [max(read_config(source.path).ranks) for source in _loras(contents).values()]
    if (backbone := _backbone(contents)) is not None:
        ranks.append(read_backbone_card(backbone.path).config.streams)
    return max(ranks, default=1)


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
        files = {file: sha256_file(path / file) for file in (CONFIG_FILE, WEIGHTS_FILE)}
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
