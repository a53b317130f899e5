"""A domain's LoRA merged into the weights of its base model, as a model that anything can load."""

from pathlib import Path

from crma_adapters.errors import ConfigError, StoreError
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.store.card import read_card
from crma_adapters.store.store import Store


def merge(store: Store, name: str, target: Path) -> Path:
    """Writes the live version of `name` merged with its base model to the new folder `target`.

    Raises:
        ConfigError: no such domain, or one that no weight of the model can hold: a mixer or a backbone.
        StoreError: the target is there already.
    """
    live = store.live()
    if name not in live.adapters:
        raise ConfigError(f"{name}: no such domain; release {live.number} has {', '.join(live.adapters)}")
    entry = live.placed().adapters[name]
    folder = store.adapter_dir(name, entry.part.version)
    kind, backbone = read_card(folder).kind, live.placed().backbone_of(entry)
    if kind != "lora" or backbone is not None:
        what = "a mixer" if kind != "lora" else "a CRMA backbone"
        raise ConfigError(
            f"{name}: {what} adds U M V h to the residual stream behind each block, where the model has no "
            "weight that it could be added to, so it cannot be merged; serve it with crma-serve, or train "
            "with --adapter lora --backbone none"
        )
    if target.exists():
        raise StoreError(f"{target}: is there already; name a new folder")
    base = resolve_base_model(live.base_model)
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base.path, dtype="auto")
    merged = PeftModel.from_pretrained(model, str(folder)).merge_and_unload(safe_merge=True)
    merged.save_pretrained(target)
    AutoTokenizer.from_pretrained(base.path).save_pretrained(target)
    return target
