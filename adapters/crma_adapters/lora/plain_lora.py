"""A PEFT LoRA as its tensors and scalings, if it is a plain one: W + scaling * B A and nothing else.

Owns: which PEFT features change that meaning and are refused. What a sound LoRA file is, is in `lora_files`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from crma_adapters.errors import IncompatibleError, IntegrityError
from crma_adapters.io.document import parse_json
from crma_adapters.io.regular_files import read_document
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE, check_lora

# As vLLM 0.32 refuses (vllm/lora/peft_helper.py), and what it would silently ignore.
_REFUSED_FEATURES = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "alora_invocation_tokens",
    "layer_replication",
    "use_bdlora",
    "use_qalora",
    "trainable_token_indices",
    "target_parameters",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
)
_INITS_KEEPING_BASE = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


@dataclass(frozen=True)
class PlainLora:
    """A LoRA on linear layers. `tensors` by PEFT name; patterns in PEFT's order: the first match wins."""

    rank: int
    alpha: float
    use_rslora: bool
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    base_model: str | None
    tensors: dict[str, Tensor]

    @property
    def target_modules(self) -> list[str]:
        """The last part of each adapted module's name, sorted: PEFT saves a set, in any order."""
        return sorted({module.rpartition(".")[2] for module in _modules(self.tensors)})


def read_plain_lora(folder: Path) -> PlainLora:
    """Read and check a PEFT LoRA folder.

    Raises `StoreError` if a file is missing, `IntegrityError` if one is malformed or its numbers are not
    finite, `IncompatibleError` for another PEFT method or a feature beyond a plain LoRA.
    """
    path = folder / CONFIG_FILE
    config = parse_json(read_document(path), str(path))
    if not isinstance(config, dict):
        raise IntegrityError(
            f"{path}: is a JSON {type(config).__name__}, expected an object; restore the file"
        )
    _check_plain(config, path)
    check_lora(folder)
    lora = PlainLora(
        rank=config["r"],
        alpha=config["lora_alpha"],
        use_rslora=bool(config.get("use_rslora")),
        rank_pattern=config.get("rank_pattern") or {},
        alpha_pattern=config.get("alpha_pattern") or {},
        base_model=config.get("base_model_name_or_path"),
        tensors=load_file(folder / WEIGHTS_FILE),
    )
    _check_ranks(lora, folder / WEIGHTS_FILE)
    return lora


def _check_plain(config: Mapping[str, Any], path: Path) -> None:
    refused = [name for name in _REFUSED_FEATURES if config.get(name)]
    if config.get("peft_type") != "LORA":
        refused.append(f"peft_type {config.get('peft_type')!r}")
    if config.get("bias", "none") != "none":
        refused.append(f"bias {config['bias']!r}")
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in _INITS_KEEPING_BASE:
        refused.append(f"init_lora_weights {init!r}, which changes the base weights")
    if refused:
        raise IncompatibleError(
            f"{path}: has {', '.join(refused)}; expected a plain LoRA (W + scaling * B A): train one without"
        )


def _check_ranks(lora: PlainLora, path: Path) -> None:
    """Each module's rank must be the one its scaling is computed from, by PEFT's own matching."""
    for name, tensor in lora.tensors.items():
        if not name.endswith((".lora_A.weight", ".lora_B.weight")):
            raise IncompatibleError(
                f"{path}: {name} is no linear layer's LoRA; train one on linear layers only"
            )
        module = next(_modules([name]))
        declared = _match(lora.rank_pattern, module, path) or lora.rank
        rank = tensor.shape[0] if name.endswith(".lora_A.weight") else tensor.shape[1]
        if rank != declared:
            raise IntegrityError(
                f"{path}: {module} has rank {rank}, {CONFIG_FILE} says {declared}; take both from one run"
            )


def _match(pattern: Mapping[str, int], module: str, path: Path) -> int | None:
    try:
        matches = (value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", module))
        return next(matches, None)
    except re.error as error:
        raise IntegrityError(
            f"{path.parent / CONFIG_FILE}: rank_pattern: {error}; restore the file"
        ) from None


def _modules(names: Iterable[str]) -> Iterator[str]:
    return (name.removeprefix("base_model.model.").rpartition(".lora_")[0] for name in names)
