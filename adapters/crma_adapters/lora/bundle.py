"""What the engine loads for one request: a domain's LoRA, its mixer and a folded backbone as one PEFT LoRA.

Mixer and backbone are both CRMAs: linear maps that read the same residual stream and whose results add up. So
they become one LoRA of `residual_mixer`, a zero linear layer the served model has in every block, with their
ranks side by side. Checked against vLLM 0.32 (vllm/lora/peft_helper.py): patterns are matched as in PEFT, the
first match wins, the rank for `max_lora_rank` is the largest of `r` and `rank_pattern`, and rsLoRA's square
root applies to patterns too.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from crma_adapters.crma.backbone import load_backbone, load_mixer
from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.crma_card import BACKBONE_FILES, MIXER_FILES, read_crma_card
from crma_adapters.crma.fold import fold
from crma_adapters.errors import ConfigError, IncompatibleError
from crma_adapters.io.whole_folder import write_folder
from crma_adapters.lora.lora_files import CONFIG_FILE, MIXER, WEIGHTS_FILE
from crma_adapters.lora.plain_lora import PlainLora, read_plain_lora

DEFAULT_LAYERS_PREFIX = "base_model.model.model.layers."

_LAYER = re.compile(r"(?P<prefix>(?:.*\.)?layers\.)(?P<index>\d+)\.")
_READS_HIDDEN = re.compile(r"\.(?:q|k|v|gate|up)_proj\.lora_A\.weight$")


def compose_bundle(
    *, lora: Path | None = None, mixer: Path | None = None, backbone: Path | None = None, out: Path
) -> None:
    """Write the bundle of the folders of a LoRA, a mixer and a backbone to `out`; any two may be left out.

    LoRA and mixer of one adapter stand in the same folder. LoRA tensors keep their dtype, the CRMAs' are
    float32; the same input gives the same bytes. All or nothing. Raises `ConfigError` if all are left out,
    `IntegrityError` for damaged input, `IncompatibleError` for a LoRA that is not a plain one or for parts of
    models of different sizes, `StoreError` if `out` holds anything else.
    """
    if lora is None and mixer is None and backbone is None:
        raise ConfigError("a bundle needs a LoRA, a mixer or a backbone; none was given")
    adapter = None if lora is None else read_plain_lora(lora)
    tensors: dict[str, Tensor] = {}
    if adapter is not None:
        _refuse_mixer(adapter, lora)
        tensors.update(adapter.tensors)
    crmas = _crmas(mixer, backbone)
    for folder, crma in crmas:
        _check_alike(folder, crma.config, crmas[0][0], crmas[0][1].config)
        _check_sizes(tensors, crma.config, lora)
    if crmas:
        tensors.update(_mixer_tensors([crma for _, crma in crmas], _layers_prefix(tensors, lora)))
    rank = sum(crma.config.rank for _, crma in crmas)
    base_model = adapter.base_model if adapter and adapter.base_model else _base_model(mixer, backbone)
    config = _bundle_config(adapter, rank or None, base_model)
    files = {
        WEIGHTS_FILE: save(dict(sorted(tensors.items())), metadata={"format": "pt"}),
        CONFIG_FILE: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
    }
    write_folder(out, files)


def _crmas(mixer: Path | None, backbone: Path | None) -> list[tuple[Path, Crma]]:
    """The CRMAs given, with their folders: the backbone first."""
    found = [] if backbone is None else [(backbone, load_backbone(backbone))]
    return found + ([] if mixer is None else [(mixer, load_mixer(mixer))])


def _base_model(mixer: Path | None, backbone: Path | None) -> str | None:
    if backbone is not None:
        return read_crma_card(backbone, BACKBONE_FILES).base_model
    return None if mixer is None else read_crma_card(mixer, MIXER_FILES).base_model


def _mixer_tensors(crmas: Sequence[Crma], prefix: str) -> dict[str, Tensor]:
    """A (sum of n, d) stacked and B (d, sum of n) side by side, per block: B A is the sum of the maps."""
    tensors = {}
    for index in range(crmas[0].config.num_layers):
        folded = [fold(crma.block(index)) for crma in crmas]
        tensors[f"{prefix}{index}.{MIXER}.lora_A.weight"] = torch.cat([each.a for each in folded])
        tensors[f"{prefix}{index}.{MIXER}.lora_B.weight"] = torch.cat([each.b for each in folded], dim=1)
    return tensors


def _bundle_config(adapter: PlainLora | None, rank: int | None, base_model: str | None) -> dict[str, object]:
    """The bundle's `adapter_config.json`. Pattern order carries meaning, so nothing here is sorted by key."""
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    if rank is not None:  # first, so that no broader pattern of the LoRA's can match the mixer
        use_rslora = adapter is not None and adapter.use_rslora
        rank_pattern[MIXER] = rank
        alpha_pattern[MIXER] = math.sqrt(rank) if use_rslora else rank
    if adapter is None:
        assert rank is not None
        adapter = PlainLora(rank, rank, False, {}, {}, None, {})
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
        "target_modules": adapter.target_modules + ([MIXER] if rank is not None else []),
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


def _check_alike(folder: Path, config: CrmaConfig, other: Path, expected: CrmaConfig) -> None:
    if (config.num_layers, config.hidden_size) != (expected.num_layers, expected.hidden_size):
        raise IncompatibleError(
            f"{folder}: a mixer of {config.num_layers} blocks of size {config.hidden_size}, {other} is a "
            f"backbone of "
            f"{expected.num_layers} blocks of size {expected.hidden_size}; use two of the same base model"
        )


def _check_sizes(tensors: Mapping[str, Tensor], config: CrmaConfig, lora: Path | None) -> None:
    for name, tensor in tensors.items():
        match = _LAYER.match(name)
        if match and int(match["index"]) >= config.num_layers:
            raise IncompatibleError(
                f"{lora}: adapts block {match['index']}, the CRMA has {config.num_layers} blocks; "
                "use a LoRA and a CRMA of the same base model"
            )
        if _READS_HIDDEN.search(name) and tensor.shape[1] != config.hidden_size:
            raise IncompatibleError(
                f"{lora}: {name} reads {tensor.shape[1]} features, the CRMA is of hidden size "
                f"{config.hidden_size}; use a LoRA and a CRMA of the same base model"
            )
