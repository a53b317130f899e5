"""A LoRA that somebody else trained, brought into the form that a store takes, or refused with what to do."""

import json
from pathlib import Path
from typing import Any

from crma_adapters.errors import IncompatibleError, StoreError
from crma_adapters.io.durable import make_folder_durably, write_durably
from crma_adapters.io.regular_files import read_document
from crma_adapters.lora.fit import read_modules, unknown_modules
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.lora.plain_lora import read_plain_lora
from crma_adapters.models.base_model import BaseModel

_HUB_FILES = [CONFIG_FILE, WEIGHTS_FILE]
_PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")
_SAVE_AGAIN = (
    "load it with PEFT and save it again: `PeftModel.from_pretrained(base, DIR).save_pretrained(NEW)`"
)


def fetch_lora(source: str, target: Path, base: BaseModel) -> Path:
    """Copies the two files of the PEFT LoRA in a folder, or on the hub, to `target`, and checks them.

    What else training tools leave beside them (tokenizers, optimizer states, pickled arguments) stays behind.

    Raises:
        StoreError: there is no LoRA in PEFT's form; the message says what there is.
        IntegrityError, IncompatibleError: it is damaged, no plain LoRA, or not one of `base`.
    """
    folder = Path(source) if Path(source).is_dir() else _from_hub(source)
    _check_layout(folder)
    make_folder_durably(target)
    write_durably(target, target / WEIGHTS_FILE, read_document(folder / WEIGHTS_FILE))
    write_durably(target, target / CONFIG_FILE, _configuration(folder, base))
    read_plain_lora(target)
    if unknown := unknown_modules(target, read_modules(base.path)):
        raise IncompatibleError(
            f"{folder}: adapts {', '.join(unknown[:3])}{' ...' if len(unknown) > 3 else ''}, which "
            f"{base.name} has not; import it into a store of the base model that it was trained on"
        )
    return target


def _configuration(folder: Path, base: BaseModel) -> bytes:
    """Its configuration with the name that this store's base model has."""
    config: dict[str, Any] = json.loads(read_document(folder / CONFIG_FILE))
    return (json.dumps({**config, "base_model_name_or_path": base.name}, indent=2) + "\n").encode()


def _check_layout(folder: Path) -> None:
    """Raises `StoreError` for a folder of another kind, by what it is."""
    names = {entry.name for entry in folder.iterdir()}
    if {CONFIG_FILE, WEIGHTS_FILE} <= names:
        return
    below = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
    if below:
        raise StoreError(
            f"{folder}: holds {CONFIG_FILE} in {', '.join(below)} and not itself; name one of these folders"
        )
    if pickles := sorted(names & {*_PICKLES}):
        raise StoreError(f"{folder / pickles[0]}: is a pickle, which can run code when read; {_SAVE_AGAIN}")
    if "adapters.safetensors" in names:
        raise StoreError(f"{folder}: is an adapter of MLX; expected PEFT's form: convert it with mlx_lm.fuse")
    if "config.json" in names and CONFIG_FILE not in names:
        raise StoreError(
            f"{folder}: is a whole model; expected a LoRA ({CONFIG_FILE} and {WEIGHTS_FILE}): serve it as a "
            "base model of its own, or import the LoRA that it was merged from"
        )
    missing = sorted({CONFIG_FILE, WEIGHTS_FILE} - names)
    shards = sorted(name for name in names if name.startswith("adapter_model-"))
    found = f" (but {shards[0]})" if shards else ""
    raise StoreError(f"{folder}: has no {' and no '.join(missing)}{found}; {_SAVE_AGAIN}")


def _from_hub(source: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub client raises a dozen kinds; all mean that it is not there
        raise StoreError(
            f"{source}: no folder here, and the hub did not give it ({type(error).__name__}); check the path"
        ) from error
