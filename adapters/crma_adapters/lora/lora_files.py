"""A PEFT LoRA as files: its configuration and its tensor pairs, checked against each other and the engine.

Owns: what a servable LoRA is. Knows nothing of releases and bundles.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from crma_adapters.errors import IncompatibleError, IntegrityError
from crma_adapters.io.document import LENIENT, Finite, Positive, parse_document, parse_json
from crma_adapters.io.regular_files import read_document
from crma_adapters.io.tensor_file import TensorInfo, check_finite, read_tensor_infos

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
# The zero linear layer on the residual stream of every block of a served model, where CRMAs stand.
MIXER = "residual_mixer"

# The two spellings PEFT saves and vLLM loads (vllm/lora/utils.py, parse_fine_tuned_lora_name).
_TENSOR_NAME = re.compile(r"(?P<module>.+)\.(?:lora_(?P<side>[AB])\.weight|lora_embedding_(?P<side2>[AB]))")

# What wrappers put into the names of the modules they hold, and how to save without them.
_WRAPPERS = {
    "_orig_mod": "torch.compile's: save the model that was compiled, `model._orig_mod`",
    "_fsdp_wrapped_module": "FSDP's: gather the full state dict, then `save_pretrained`",
    "_checkpoint_wrapped_module": "activation checkpointing's: save the model without the wrapper",
    "module.base_model": "DistributedDataParallel's: save `model.module`",
}
# `lora_A.default.weight`: PEFT's names in memory, with the adapter's own name in them.
_IN_MEMORY = re.compile(r".+\.lora_(?:embedding_)?[AB]\.[^.]+(?:\.weight)?")

# PEFT and vLLM match these regular expressions against module names that come from the same hand, so one
# must not be able to take for ever: no quantified group, at most two quantifiers.
_QUANTIFIER = re.compile(r"[*+?{]")
_MAX_QUANTIFIERS = 2
_MAX_PATTERN = 256


def _pattern(key: str) -> str:
    try:
        re.compile(key)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression ({error})") from None
    quantifiers = len(_QUANTIFIER.findall(key))
    if len(key) > _MAX_PATTERN or quantifiers > _MAX_QUANTIFIERS or re.search(r"\)[*+?{]", key):
        raise ValueError("too costly to match; expected a module's name or a simple pattern of names")
    return key


Pattern = Annotated[str, AfterValidator(_pattern)]
PositiveNumber = Annotated[Finite, Field(gt=0)]


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
class LoraConfig:
    """What is read of `adapter_config.json`, in PEFT's words; what else it says is PEFT's business."""

    __pydantic_config__: ClassVar[ConfigDict] = LENIENT

    peft_type: Literal["LORA"]
    r: Positive
    lora_alpha: PositiveNumber
    target_modules: tuple[str, ...] | str
    rank_pattern: dict[Pattern, Positive] = field(default_factory=dict)
    alpha_pattern: dict[Pattern, PositiveNumber] | None = None

    @property
    def ranks(self) -> frozenset[int]:
        """Every rank a module of this LoRA may have."""
        return frozenset({self.r, *self.rank_pattern.values()})


def read_config(folder: Path) -> LoraConfig:
    """The configuration of the PEFT LoRA in `folder`. Raises `StoreError` or `IntegrityError`."""
    path = folder / CONFIG_FILE
    return parse_document(LoraConfig, read_document(path), str(path))


def check_lora(folder: Path, *, max_rank: int | None = None) -> LoraConfig:
    """Check the two files of a PEFT LoRA in `folder` and return its configuration.

    Raises `IntegrityError` for a malformed configuration, unpaired or inconsistent tensors, NaN and Inf, and
    `IncompatibleError` for a rank over `max_rank`.
    """
    config, weights_path = read_config(folder), folder / WEIGHTS_FILE
    pairs = _pairs(check_finite(weights_path), weights_path)
    if not pairs:
        raise IntegrityError(
            f"{weights_path}: holds no tensors; expected *.lora_A.weight and *.lora_B.weight"
        )
    for module, sides in pairs.items():
        rank = _rank(module, sides, weights_path)
        if rank not in config.ranks:
            raise IntegrityError(
                f"{weights_path}: {module} has rank {rank}, {CONFIG_FILE} says {sorted(config.ranks)}; "
                "take both files from the same training"
            )
        if max_rank is not None and rank > max_rank:
            raise IncompatibleError(
                f"{folder}: {module} has rank {rank}, the engine takes at most {max_rank}; "
                f"serve with --max-lora-rank {rank}, or train with a lower rank"
            )
    return config


def adapted_modules(folder: Path) -> frozenset[str]:
    """The last part of the name of each module that the LoRA in `folder` adapts (`q_proj`). Raises as
    `check_lora` for files that are none."""
    path = folder / WEIGHTS_FILE
    return frozenset(name.rpartition(".")[2] for name in _pairs(read_tensor_infos(path), path))


def check_plain_lora(folder: Path, *, max_rank: int | None = None) -> LoraConfig:
    """Check the PEFT LoRA in `folder` for all that composing a bundle of it would refuse but its ranks.

    Raises as `check_lora`, `IncompatibleError` for a rank over `max_rank`.
    """
    read_plain_config(folder)
    return check_lora(folder, max_rank=max_rank)


def read_plain_config(folder: Path) -> dict[str, Any]:
    """All that `adapter_config.json` says, if it is a plain LoRA's: W + scaling * B A and nothing else.

    Raises `StoreError`, `IntegrityError` for no JSON object, `IncompatibleError` for a feature beyond that.
    """
    path = folder / CONFIG_FILE
    config = parse_json(read_document(path), str(path))
    if not isinstance(config, dict):
        raise IntegrityError(
            f"{path}: is a JSON {type(config).__name__}, expected an object; restore the file"
        )
    _check_plain(config, path)
    return config


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


def _pairs(infos: dict[str, TensorInfo], path: Path) -> dict[str, dict[str, TensorInfo]]:
    pairs: dict[str, dict[str, TensorInfo]] = {}
    for name, info in infos.items():
        match = _TENSOR_NAME.fullmatch(name)
        _check_wrappers(name, path, in_memory=match is None and _IN_MEMORY.fullmatch(name) is not None)
        if match is None:
            raise IntegrityError(
                f"{path}: tensor {name} is no LoRA tensor; save the LoRA alone, without DoRA or bias"
            )
        pairs.setdefault(match["module"], {})[match["side"] or match["side2"]] = info
    return pairs


def _check_wrappers(name: str, path: Path, *, in_memory: bool) -> None:
    """Raise `IncompatibleError` for a name that no engine knows because something stood around the model."""
    if in_memory:
        raise IncompatibleError(
            f"{path}: tensor {name} has the name it bears in memory; expected PEFT's saved names, "
            "without the adapter's own: save it with `model.save_pretrained`, not with `state_dict()`"
        )
    for part, advice in _WRAPPERS.items():
        if f".{part}." in f".{name}":
            raise IncompatibleError(
                f"{path}: tensor {name} has {part!r} in its name, {advice}; expected PEFT's saved names"
            )


def _rank(module: str, sides: dict[str, TensorInfo], path: Path) -> int:
    """The rank of one pair: A is (rank, in), B is (out, rank)."""
    if set(sides) != {"A", "B"}:
        raise IntegrityError(f"{path}: {module} has lora_{'/'.join(sorted(sides))} alone; expected A and B")
    a, b = sides["A"], sides["B"]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1] or 0 in a.shape + b.shape:
        raise IntegrityError(
            f"{path}: {module} has A {list(a.shape)}, B {list(b.shape)}; expected (rank, in) and (out, rank)"
        )
    if not {a.dtype, b.dtype} <= {"F64", "F32", "F16", "BF16"}:
        raise IntegrityError(f"{path}: {module} has dtypes {a.dtype} and {b.dtype}; expected floating point")
    return a.shape[0]
