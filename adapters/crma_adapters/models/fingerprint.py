"""What makes one base model the same as another: architecture and samples of every layer's weights."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crma_adapters.errors import BaseModelError

_ARCHITECTURE_KEYS = (
    "architectures",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
)
_LAYER = re.compile(r"(?:^|\.)(layers\.\d+\..+)$")
_OTHER_TOWERS = re.compile(r"vision|visual|audio|mtp\.")  # not the language model's own layers
_FINAL_NORM = "norm.weight"
_SAMPLES = 4  # rows of every matrix, spread evenly
_LONGEST_ROW = 256  # columns of each
INDEX_FILE = "model.safetensors.index.json"

# Fingerprints of the packaged models now, and what releases recorded while the final norm was all that was
# hashed, which a fine-tune of the other layers does not change.
_SMOLLM2 = "575f758d9e4e355c73d1aec56acfbccfd00c088f8bc845ef47debe41248a2d22"
_GEMMA_3 = "974058ff4e870523ef2b55ee6d35906b0330b0e0d1c8332f4031f068290a38f9"
_FORMER = {
    "8bf7a68d57ba5ac0045df70cb2b32d58401520b1eeecc733d02eac464e256db8": _SMOLLM2,
    "1e80e977a0715104d0be03933798ab89b20f7bcaeba7ef2a9ca860a5f68779dd": _GEMMA_3,
}


def fingerprint(path: Path) -> str:
    """Hex sha256 over the architecture and four rows of every matrix and vector of every layer.

    A fine-tune that was merged into the weights changes some rows of every matrix that it touched, so it is
    told from its base; a few megabytes are read, however large the model is. Values are compared in bfloat16:
    the same model saved in float32 and in bfloat16 is one model. A checkpoint that is stored quantized is a
    model of its own.

    Raises:
        BaseModelError: no causal language model in Hugging Face format.
    """
    config = read_config(path)
    text_config = config.get("text_config", {})
    facts = {key: config.get(key, text_config.get(key)) for key in _ARCHITECTURE_KEYS}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    samples = dict(_samples(path))
    if _FINAL_NORM not in samples:
        raise BaseModelError(
            f"{path} has no safetensors file with a final norm ('...{_FINAL_NORM}'): expected a causal "
            "language model in Hugging Face format; save it with save_pretrained()"
        )
    for name in sorted(samples):
        digest.update(name.encode())
        digest.update(samples[name])
    return digest.hexdigest()


def same_base(one: str, other: str) -> bool:
    """Whether two recorded fingerprints are of one base model; knows the packaged models' former ones."""
    return _FORMER.get(one, one) == _FORMER.get(other, other)


def _samples(path: Path) -> Iterator[tuple[str, bytes]]:
    from safetensors import safe_open

    for file in weight_files(path):
        with safe_open(str(file), framework="pt") as tensors:
            for full_name in tensors.keys():  # noqa: SIM118
                name = _language_name(full_name)
                if name is not None:
                    yield name, _sample(tensors.get_slice(full_name))


def _language_name(full_name: str) -> str | None:
    """A tensor's name without what classes put before it; None if it is not sampled."""
    if _OTHER_TOWERS.search(full_name):
        return None
    if match := _LAYER.search(full_name):
        return match[1]
    return _FINAL_NORM if full_name.endswith("." + _FINAL_NORM) else None


def _sample(tensor: Any) -> bytes:
    import torch

    shape = tensor.get_shape()
    if len(shape) < 2:
        return _plain(tensor[:])
    rows = sorted({(shape[0] - 1) * place // (_SAMPLES - 1) for place in range(_SAMPLES)})
    return _plain(torch.stack([tensor[row : row + 1].flatten()[:_LONGEST_ROW] for row in rows]))


def _plain(values: Any) -> bytes:
    import torch

    return bytes(values.to(torch.bfloat16).to(torch.float32).numpy().tobytes())


def weight_files(path: Path) -> list[Path]:
    """The safetensors files that transformers would load, in order; another format's copy is not one."""
    if (path / INDEX_FILE).is_file():
        index = read_document(path / INDEX_FILE).get("weight_map", {})
        return [path / name for name in sorted(set(index.values()))]
    whole = path / "model.safetensors"
    if whole.is_file():
        return [whole]
    return [file for file in sorted(path.glob("*.safetensors")) if not file.name.startswith("consolidated")]


def read_config(path: Path) -> dict[str, Any]:
    """A model folder's `config.json`. Raises `BaseModelError` if it cannot be read."""
    return read_document(path / "config.json")


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises `BaseModelError` if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"cannot read {path} ({error}): expected a model folder in Hugging Face format"
        ) from error
    if not isinstance(found, dict):
        raise BaseModelError(f"{path} holds {type(found).__name__}, expected a JSON object")
    return found
