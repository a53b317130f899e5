"""A PEFT LoRA as its tensors and scalings, if it is a plain one: W + scaling * B A and nothing else."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from crma_adapters.errors import IncompatibleError, IntegrityError
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE, check_lora, read_plain_config


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
    config = read_plain_config(folder)
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
