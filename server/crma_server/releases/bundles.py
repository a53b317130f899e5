"""The LoRA folders the engine loads: one per target, composed once into the cache, named by their content.

Owns: bundle digests, their place in the cache, and the integer ids engines want. Knows nothing of requests.
"""

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.crma_card import MIXER_FILES
from crma_adapters.lora.bundle import compose_bundle
from crma_adapters.lora.lora_files import CONFIG_FILE
from crma_adapters.models.cache import cache_dir
from crma_adapters.store.release import Part

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
