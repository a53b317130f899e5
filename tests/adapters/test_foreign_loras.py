"""LoRAs as other tools leave them: taken, and answering as PEFT's do, or refused with what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from crma_adapters.errors import CrmaError, IncompatibleError
from crma_adapters.lora.bundle import compose_bundle
from crma_adapters.lora.foreign import fetch_lora
from crma_adapters.models.base_model import BaseModel, resolve_base_model

Build = Callable[["Shop"], Path]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TARGETS = ["q_proj", "v_proj", "down_proj"]


class Shop:
    """Makes LoRA folders of the tiny model with PEFT itself."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base, self.folder = base, folder

    def model(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.base)

    def lora(self, name: str = "lora", **settings: Any) -> Path:
        """A LoRA whose B is not zero, saved by PEFT."""
        settings = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, **settings}
        return self.saved(LoraConfig(task_type="CAUSAL_LM", **settings), name)

    def saved(self, settings: Any, name: str = "lora") -> Path:
        torch.manual_seed(1)
        model = get_peft_model(self.model(), settings)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_B" in key or "lora_embedding" in key:
                    parameter.normal_(std=0.1)
        model.save_pretrained(self.folder / name)
        return self.folder / name

    def edited(self, folder: Path, **changes: Any) -> Path:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **changes}))
        return folder

    def retyped(self, folder: Path, dtype: torch.dtype) -> Path:
        tensors = load_file(folder / WEIGHTS)
        save_file({k: v.to(dtype) for k, v in tensors.items()}, folder / WEIGHTS, metadata={"format": "pt"})
        return folder

    def logits(self, folder: Path) -> Tensor:
        model = PeftModel.from_pretrained(self.model(), str(folder)).eval()
        with torch.no_grad():
            logits: Tensor = model(input_ids=torch.arange(24)[None]).logits
        return logits


@pytest.fixture
def shop(base_model: Path, tmp_path: Path) -> Shop:
    return Shop(base_model, tmp_path)


@pytest.fixture
def base(base_model: Path) -> BaseModel:
    return resolve_base_model(str(base_model))


def _unsloth(shop: Shop) -> Path:
    """Its regular expression of full names, its quantised base's name, its model card and tokenizer."""
    names = r"(?:.*?(?:self_attn|mlp).*?(?:q_proj|v_proj|down_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.none)"
    folder = shop.edited(shop.lora(target_modules=names), base_model_name_or_path="unsloth/tiny-bnb-4bit")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "special_tokens_map.json").write_text("{}")
    return folder


def _llama_factory(shop: Shop) -> Path:
    """Training state and pickled arguments beside the adapter."""
    folder = shop.lora()
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(b"\x80\x04pickle")
    for name in ("all_results.json", "trainer_state.json", "trainer_log.jsonl", "added_tokens.json"):
        (folder / name).write_text("{}")
    return folder


TAKEN: dict[str, Build] = {
    "plain": lambda shop: shop.lora(),
    "rsLoRA": lambda shop: shop.lora(use_rslora=True, r=9),
    "all-linear": lambda shop: shop.lora(target_modules="all-linear"),
    "regular expression": lambda shop: shop.lora(target_modules=r".*\.self_attn\.(q|v)_proj"),
    "some layers only": lambda shop: shop.lora(layers_to_transform=[1]),
    "rank and alpha patterns": lambda shop: shop.lora(
        rank_pattern={"down_proj": 2}, alpha_pattern={"layers.1.self_attn.q_proj": 3}
    ),
    "float16": lambda shop: shop.retyped(shop.lora(), torch.float16),
    "bfloat16": lambda shop: shop.retyped(shop.lora(), torch.bfloat16),
    "dropout, gaussian start": lambda shop: shop.lora(lora_dropout=0.1, init_lora_weights="gaussian"),
    "another name of the base model": lambda shop: shop.edited(
        shop.lora(), base_model_name_or_path="/home/somebody/models/tiny"
    ),
    "Unsloth": _unsloth,
    "LLaMA-Factory": _llama_factory,
}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_lora_that_is_taken_answers_as_pefts(shop: Shop, base: BaseModel, kind: str) -> None:
    folder = TAKEN[kind](shop)
    expected = shop.logits(folder)
    taken = fetch_lora(str(folder), shop.folder / "taken", base)
    assert sorted(path.name for path in taken.iterdir()) == [CONFIG, WEIGHTS]
    compose_bundle(lora=taken, out=shop.folder / "bundle")
    found = shop.logits(shop.folder / "bundle")
    assert float((found - expected).abs().max()) < 1e-5
    bare = shop.model()(input_ids=torch.arange(24)[None]).logits
    assert float((bare - expected).abs().max()) > 1e-3  # it does something


def _pickle(shop: Shop) -> Path:
    folder = shop.lora()
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    return folder


def _checkpoints(shop: Shop) -> Path:
    for step in (500, 1000):
        shutil.copytree(shop.lora(f"lora-{step}"), shop.folder / "out" / f"checkpoint-{step}")
    return shop.folder / "out"


def _whole_model(shop: Shop) -> Path:
    shop.model().save_pretrained(shop.folder / "merged")
    return shop.folder / "merged"


def _mlx(shop: Shop) -> Path:
    folder = shop.folder / "mlx"
    folder.mkdir()
    save_file({"model.layers.0.self_attn.q_proj.lora_a": torch.zeros(2, 2)}, folder / "adapters.safetensors")
    (folder / CONFIG).write_text(json.dumps({"fine_tune_type": "lora", "num_layers": 2}))
    return folder


def _wider_model(shop: Shop) -> Path:
    folder = shop.lora(target_modules=["q_proj"])
    tensors = load_file(folder / WEIGHTS)
    wider = {k: torch.zeros(4, 48) if "lora_A" in k else v for k, v in tensors.items()}
    save_file(wider, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def _deeper_model(shop: Shop) -> Path:
    folder = shop.lora(target_modules=["q_proj"])
    tensors = load_file(folder / WEIGHTS)
    more = {k.replace("layers.1.", "layers.7."): v.clone() for k, v in tensors.items() if "layers.1." in k}
    save_file({**tensors, **more}, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def _not_finite(shop: Shop) -> Path:
    folder = shop.lora()
    tensors = load_file(folder / WEIGHTS)
    first = sorted(tensors)[0]
    tensors[first][0, 0] = float("nan")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


REFUSED: dict[str, tuple[Build, str]] = {
    "DoRA": (lambda shop: shop.lora(use_dora=True), "has use_dora; expected a plain LoRA"),
    "modules_to_save": (lambda shop: shop.lora(modules_to_save=["lm_head"]), "has modules_to_save"),
    "bias": (lambda shop: shop.lora(bias="lora_only"), "bias 'lora_only'; expected a plain LoRA"),
    "PiSSA": (lambda shop: shop.lora(init_lora_weights="pissa"), "which changes the base weights"),
    "embeddings": (
        lambda shop: shop.lora(target_modules=["embed_tokens"]),
        "embed_tokens.* is no LoRA tensor",
    ),
    "IA3": (
        lambda shop: shop.saved(
            IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[])
        ),
        "peft_type 'IA3'",
    ),
    "pickle": (_pickle, r"adapter_model\.bin: is a pickle.*save_pretrained"),
    "a trainer's output folder": (
        _checkpoints,
        "in checkpoint-1000, checkpoint-500 and not itself",
    ),
    "a merged model": (_whole_model, "is a whole model; expected a LoRA"),
    "MLX": (_mlx, "is an adapter of MLX; expected PEFT's form"),
    "another model's, wider": (_wider_model, r"for a layer of \(out, in\) \(32, 48\); expected \(32, 32\)"),
    "another model's, deeper": (_deeper_model, r"adapts layers\.7\.self_attn\.q_proj, which .* has not"),
    "not finite": (_not_finite, "lora_A"),
    "nothing": (lambda shop: shop.folder / "nowhere", "no folder here, and the hub did not give it"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_taken_is_refused_with_what_to_do(shop: Shop, base: BaseModel, kind: str) -> None:
    build, message = REFUSED[kind]
    folder = build(shop)
    with pytest.raises(CrmaError, match=message):
        fetch_lora(str(folder), shop.folder / "taken", base)


def test_a_lora_of_another_family_is_refused(shop: Shop, base: BaseModel) -> None:
    folder = shop.lora(target_modules=["q_proj"])
    tensors = {k.replace("q_proj", "c_attn"): v for k, v in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(IncompatibleError, match="which has none of them"):
        fetch_lora(str(folder), shop.folder / "taken", base)
