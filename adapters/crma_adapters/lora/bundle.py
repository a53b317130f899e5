"""What the engine loads for one request: a domain's LoRA and a folded CRMA as one PEFT LoRA.

Owns: the bundle's names, ranks and scalings. The CRMA becomes the LoRA of `residual_mixer`, a zero linear
layer the served model has in every block. Checked against vLLM 0.32 (vllm/lora/peft_helper.py): patterns
are matched as in PEFT, the first match wins, the rank for `max_lora_rank` is the largest of `r` and
`rank_pattern`, and rsLoRA's square root applies to patterns too.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from crma_adapters.crma.backbone import load_backbone, read_backbone_card
from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.fold import fold
from crma_adapters.errors import ConfigError, IncompatibleError
from crma_adapters.io.whole_folder import write_folder
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.lora.plain_lora import PlainLora, read_plain_lora

MIXER = "residual_mixer"
DEFAULT_LAYERS_PREFIX = "base_model.model.model.layers."

_LAYER = re.compile(r"(?P<prefix>(?:.*\.)?layers\.)(?P<index>\d+)\.")
_READS_HIDDEN = re.compile(r"\.(?:q|k|v|gate|up)_proj\.lora_A\.weight$")


def compose_bundle(*, lora: Path | None, backbone: Path | None, out: Path) -> None:
    """Write the bundle of a LoRA folder and a backbone folder, either of which may be left out, to `out`.

    LoRA tensors keep their dtype, the mixer's are float32; the same input gives the same bytes. All or
    nothing. Raises `ConfigError` if both are left out, `IntegrityError` for damaged input,
    `IncompatibleError` for a LoRA that is not a plain one or is for a model of other sizes, `StoreError` if
    `out` holds anything else.
    """
    if lora is None and backbone is None:
        raise ConfigError("a bundle needs a LoRA, a backbone or both; neither was given")
    adapter = None if lora is None else read_plain_lora(lora)
    streams = None
    tensors: dict[str, Tensor] = {}
    base_model = None if adapter is None else adapter.base_model
    if adapter is not None:
        _refuse_mixer(adapter, lora)
        tensors.update(adapter.tensors)
    if backbone is not None:
        card = read_backbone_card(backbone)
        streams = card.config.rank
        _check_sizes(tensors, card.config, lora)
        tensors.update(_mixer_tensors(backbone, _layers_prefix(tensors, lora)))
        base_model = base_model or card.base_model
    config = _bundle_config(adapter, streams, base_model)
    files = {
        WEIGHTS_FILE: save(dict(sorted(tensors.items())), metadata={"format": "pt"}),
        CONFIG_FILE: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
    }
    write_folder(out, files)


def _mixer_tensors(backbone: Path, prefix: str) -> dict[str, Tensor]:
    crma = load_backbone(backbone)
    tensors = {}
    for index in range(crma.config.num_layers):
        folded = fold(crma.block(index))
        tensors[f"{prefix}{index}.{MIXER}.lora_A.weight"] = folded.a
        tensors[f"{prefix}{index}.{MIXER}.lora_B.weight"] = folded.b
    return tensors


def _bundle_config(
    adapter: PlainLora | None, streams: int | None, base_model: str | None
) -> dict[str, object]:
    """The bundle's `adapter_config.json`. Pattern order carries meaning, so nothing here is sorted by key."""
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    if streams is not None:  # first, so that no broader pattern of the LoRA's can match the mixer
        use_rslora = adapter is not None and adapter.use_rslora
        rank_pattern[MIXER] = streams
        alpha_pattern[MIXER] = math.sqrt(streams) if use_rslora else streams
    if adapter is None:
        assert streams is not None
        adapter = PlainLora(streams, streams, False, {}, {}, None, {})
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "inference_mode": True,
        "bias": "none",
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "use_rslora": adapter.use_rslora,
        "rank_pattern": rank_pattern | adapter.rank_pattern,
        "alpha_pattern": alpha_pattern | adapter.alpha_pattern,
        "target_modules": adapter.target_modules + ([MIXER] if streams is not None else []),
    }


def _layers_prefix(tensors: Mapping[str, Tensor], lora: Path | None) -> str:
    """What stands before the block's number in the LoRA's names: a multimodal model has its own."""
    found = {match["prefix"] for name in tensors if (match := _LAYER.match(name))}
    if len(found) > 1:
        raise IncompatibleError(
            f"{lora}: adapts the layers of {sorted(found)}, expected one decoder; "
            "train the language model alone"
        )
    return found.pop() if found else DEFAULT_LAYERS_PREFIX


def _refuse_mixer(adapter: PlainLora, lora: Path | None) -> None:
    if MIXER in adapter.target_modules:
        raise IncompatibleError(f"{lora}: is a bundle already; give the LoRA it was composed from")


def _check_sizes(tensors: Mapping[str, Tensor], config: CrmaConfig, lora: Path | None) -> None:
    for name, tensor in tensors.items():
        match = _LAYER.match(name)
        if match and int(match["index"]) >= config.num_layers:
            raise IncompatibleError(
                f"{lora}: adapts block {match['index']}, the backbone has {config.num_layers} blocks; "
                "use a LoRA and a backbone of the same base model"
            )
        if _READS_HIDDEN.search(name) and tensor.shape[1] != config.hidden_size:
            raise IncompatibleError(
                f"{lora}: {name} reads {tensor.shape[1]} features, the backbone is of hidden size "
                f"{config.hidden_size}; use a LoRA and a backbone of the same base model"
            )
