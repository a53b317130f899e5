"""The LoRA folders that the engine loads: one for each target, composed of its parts once into the cache and
named by their content."""

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.crma_card import MIXER_FILES
from crma_adapters.io.regular_files import sha256_file
from crma_adapters.lora.bundle import compose_bundle
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.models.cache import cache_dir
from crma_adapters.store.names import version_of
from crma_adapters.store.release import Part, Release
from crma_server.releases.snapshot import StoreSnapshot
from crma_server.routing.catalog import Target

# Part of every bundle's digest: raise it when composing the same parts would give other bytes.
BUNDLE_FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """What the engine loads for one target. `lora_id` is in 1 .. 2^31 - 1 and follows from the content."""

    engine_model: str
    path: Path
    lora_id: int


@dataclass(frozen=True)
class Source:
    """A part of a bundle: where its files lie and which they are (name -> sha256 hex)."""

    path: Path
    part: Part


def make_bundle(
    engine_model: str, adapter: Source | None, backbone: Source | None, taken: Container[int]
) -> Bundle:
    """Compose adapter and backbone into the cache, or find it there; `taken` are ids in use by other bundles.

    The adapter's LoRA and mixer are those that its part has.
    """
    digest = bundle_digest(adapter.part.files if adapter else None, backbone.part.files if backbone else None)
    path = cache_dir("bundles", digest)
    if not path.is_dir():
        compose_bundle(
            lora=adapter.path if adapter and CONFIG_FILE in adapter.part.files else None,
            mixer=adapter.path if adapter and MIXER_FILES.card in adapter.part.files else None,
            backbone=backbone.path if backbone else None,
            out=path,
        )
    # By name too: the same adapter under two names is two models to the engine.
    return Bundle(engine_model, path, lora_id(f"{engine_model} {digest}", taken))


def bundle_digest(adapter: Mapping[str, str] | None, backbone: Mapping[str, str] | None) -> str:
    """64 hex characters over the digests of every file of the parts that a bundle is made of."""
    facts = {"format": BUNDLE_FORMAT, "lora": adapter, "backbone": backbone}
    canonical = json.dumps(facts, sort_keys=True, default=dict)
    return hashlib.sha256(canonical.encode()).hexdigest()


def lora_id(content: str, taken: Container[int]) -> int:
    """The engine's integer id for a bundle: the same name and content get the same id in every process.

    An id already `taken` by another bundle is stepped over, so two bundles never share one.
    """
    attempt = 0
    while True:
        drawn = hashlib.sha256(f"{content}/{attempt}".encode()).hexdigest()
        found = 1 + int(drawn, 16) % (2**31 - 1)
        if found not in taken:
            return found
        attempt += 1


class Composer:
    """Composes the bundle of each target, or finds it among those known."""

    def __init__(self, contents: StoreSnapshot, known: Iterable[Bundle] = ()) -> None:
        """`known` bundles stay as they are. Raises `IntegrityError` for a plain folder that is no LoRA."""
        self._contents = contents
        self._known = {bundle.engine_model: bundle for bundle in known}
        self.plain = dict(self._plain())
        """Sources of plain PEFT folders, by name."""
        self.backbones = dict(self._backbones())
        """Sources of backbones, by version."""
        self.adapters = dict(self._adapters())
        """Sources of adapters by name and version, canaries and plain ones too."""

    def bundle(self, target: Target) -> Bundle:
        """What the engine loads for `target`. Raises `IntegrityError` if a part changed since it was read."""
        name = target.engine_model
        if name not in self._known:
            taken = {bundle.lora_id for bundle in self._known.values()}
            adapter = self.adapters.get((target.adapter, target.version or ""))
            backbone = self.backbones[target.backbone] if target.backbone else None
            self._known[name] = make_bundle(name, adapter, backbone, taken)
        return self._known[name]

    def _releases(self) -> Iterator[Release]:
        if self._contents.release is not None:
            yield self._contents.release
        yield from self._contents.kept

    def _adapters(self) -> Iterator[tuple[tuple[str, str], Source]]:
        store = self._contents.store
        for release in self._releases():
            for name, entry in release.adapters.items():
                for part in [entry.part, *([entry.canary.part] if entry.canary else [])]:
                    yield (name, part.version), Source(store.adapter_dir(name, part.version), part)
        for name, source in self.plain.items():
            yield (name, source.part.version), source

    def _backbones(self) -> Iterator[tuple[str, Source]]:
        for release in self._releases():
            for version, part in release.backbones().items():
                yield version, Source(self._contents.store.backbone_dir(version), part)

    def _plain(self) -> Iterator[tuple[str, Source]]:
        for name, path in self._contents.plain.items():
            files = {file: sha256_file(path / file) for file in (CONFIG_FILE, WEIGHTS_FILE)}
            yield name, Source(path, Part(version_of(files), files))
