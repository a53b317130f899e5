"""What a store has to serve, checked: its live release, and plain PEFT folders dropped in.

Owns: opening the store before anything slow starts. Knows nothing of engines or requests.
"""

from dataclasses import dataclass
from pathlib import Path

from crma_adapters.base_model import DEFAULT_BASE_MODEL, BaseModel, resolve_base_model
from crma_adapters.errors import StoreError
from crma_adapters.release import Release
from crma_adapters.store import Store
from crma_adapters.verify import verify_plain, verify_release

# vLLM's own upper limit for --max-lora-rank (vllm.config.lora.MaxLoRARanks).
MAX_RANK = 512


@dataclass(frozen=True)
class Contents:
    """A store's servable content. `release` is None when there are only plain PEFT folders."""

    store: Store
    base: BaseModel
    release: Release | None
    plain: dict[str, Path]


def open_contents(root: Path, model: str | None) -> Contents:
    """Open the store at `root` and check all of it; `model` overrides the release's base model.

    Raises:
        StoreError: there is no store or nothing in it, or something in it is broken or does not fit.
        BaseModelError: the base model cannot be had.
    """
    if not root.is_dir():
        raise StoreError(
            f"no store at {root}: expected a folder with a release.json; publish one with `crma-train` or "
            "pass another folder to --adapters"
        )
    store = Store(root)
    plain = store.plain_adapters()
    release = store.live() if plain == {} or (root / "release.json").exists() else None
    base = resolve_base_model(model or (release.base_model if release else DEFAULT_BASE_MODEL))
    if release is not None:
        verify_release(store, release, base_fingerprint=base.fingerprint, max_rank=MAX_RANK)
        for name in plain.keys() & release.adapters.keys():
            raise StoreError(
                f"{name!r} is both a published domain and a plain PEFT folder in {root}: expected one of "
                "them; move one away"
            )
    for path in plain.values():
        verify_plain(path, max_rank=MAX_RANK)
    return Contents(store, base, release, plain)
