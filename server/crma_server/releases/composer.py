"""Where the parts of what is served lie, and the bundle of each target made of them.

Owns: finding a target's adapter and backbone among the releases served, and composing what is not composed
yet. Knows nothing of names clients use, nor of the engine.
"""

from collections.abc import Iterable, Iterator

from crma_adapters.io.regular_files import sha256_file
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.store.names import version_of
from crma_adapters.store.release import Part, Release
from crma_server.releases.bundles import Bundle, Source, make_bundle
from crma_server.releases.snapshot import Contents
from crma_server.routing.catalog import Target


class Composer:
    """Composes the bundle of each target, or finds it among those known."""

    def __init__(self, contents: Contents, known: Iterable[Bundle] = ()) -> None:
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
