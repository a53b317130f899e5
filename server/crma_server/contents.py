"""What a store has to serve, checked: its live release, and plain PEFT folders dropped in.

Owns: opening the store before anything slow starts. Knows nothing of engines or requests.
"""

from dataclasses import dataclass
from pathlib import Path

from crma_adapters.base_model import DEFAULT_BASE_MODEL, BaseModel, resolve_base_model
from crma_adapters.release import Release
from crma_adapters.store import Store
from crma_adapters.verify import verify_plain, verify_release
from crma_router.persist import load_model

# vLLM's own upper limit for --max-lora-rank (vllm.config.lora.MaxLoRARanks).
MAX_RANK = 512


@dataclass(frozen=True)
class Contents:
    """A store's servable content. `release` is None when there are only plain PEFT folders."""

    store: Store
    base: BaseModel
    release: Release | None
    plain: dict[str, Path]

    @property
    def router_dir(self) -> Path | None:
        """Where the live release's router lies, if it has one."""
        if self.release is None or self.release.router is None:
            return None
        return self.store.router_dir(self.release.router.version)


def open_contents(root: Path, model: str | None) -> Contents:
    """Open the store at `root` and check all of it; `model` overrides the release's base model.

    Raises:
        StoreError: there is no store or nothing in it, or something in it is broken or does not fit.
        BaseModelError: the base model cannot be had.
        RouterError: the release's router is none.
    """
    store = Store(root)
    plain = store.plain_adapters()
    release = store.live() if not plain or (root / "release.json").exists() else None
    base = resolve_base_model(model or (release.base_model if release else DEFAULT_BASE_MODEL))
    if release is not None:
        verify_release(store, release, base_fingerprint=base.fingerprint, max_rank=MAX_RANK)
    for path in plain.values():
        verify_plain(path, max_rank=MAX_RANK)
    contents = Contents(store, base, release, plain)
    if contents.router_dir is not None:
        load_model(contents.router_dir)
    return contents
