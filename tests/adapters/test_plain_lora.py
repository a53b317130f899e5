"""A PEFT LoRA is read with the meaning PEFT gives it, or refused for the feature that changes it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from crma_adapters.errors import IncompatibleError, IntegrityError, StoreError
from crma_adapters.lora.plain_lora import read_plain_lora


def tiny() -> nn.Module:
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    model: nn.Module = LlamaForCausalLM(config)
    return model


def peft_folder(folder: Path, **options: Any) -> Path:
    """A LoRA as PEFT itself saves it."""
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["v_proj", "q_proj"]}
    get_peft_model(tiny(), LoraConfig(**(settings | options))).save_pretrained(folder)
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return peft_folder(tmp_path / "lora")


def change(folder: Path, **values: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_reads_what_peft_saved(saved: Path) -> None:
    lora = read_plain_lora(saved)
    assert (lora.rank, lora.alpha, lora.use_rslora) == (4, 8, False)
    assert (lora.rank_pattern, lora.alpha_pattern) == ({}, {})
    assert lora.target_modules == ["q_proj", "v_proj"]
    assert len(lora.tensors) == 8
    expected = load_file(saved / "adapter_model.safetensors")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in lora.tensors.items())


def test_reads_patterns_by_pefts_rule(tmp_path: Path) -> None:
    ranks, alphas = {"layers.0.self_attn.q_proj": 2, "v_proj": 3}, {"v_proj": 5}
    folder = peft_folder(tmp_path / "lora", use_rslora=True, rank_pattern=ranks, alpha_pattern=alphas)
    lora = read_plain_lora(folder)
    assert (lora.rank_pattern, lora.alpha_pattern) == (ranks, alphas)
    assert lora.use_rslora
    found = [t.shape[0] for name, t in sorted(lora.tensors.items()) if "lora_A" in name]
    assert found == [2, 3, 4, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "has use_dora"),
        ({"bias": "lora_only"}, "has bias 'lora_only'"),
        ({"lora_bias": True}, "has lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "has modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa', which changes the base"),
    ],
)
def test_refuses_what_is_no_plain_lora(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(IncompatibleError, match=message):
        read_plain_lora(peft_folder(tmp_path / "lora", **options))


def test_refuses_the_lora_of_an_embedding(saved: Path) -> None:
    path = saved / "adapter_model.safetensors"
    renamed = {re.sub(r"lora_([AB])\.weight", r"lora_embedding_\1", n): t for n, t in load_file(path).items()}
    save_file(renamed, path)
    with pytest.raises(IncompatibleError, match=r"lora_embedding_A is no linear layer's LoRA"):
        read_plain_lora(saved)


def test_refuses_other_peft_methods(saved: Path) -> None:
    change(saved, peft_type="IA3")
    with pytest.raises(
        IncompatibleError, match=r"adapter_config\.json: has peft_type 'IA3'; expected a plain"
    ):
        read_plain_lora(saved)


def test_refuses_a_rank_that_is_not_the_declared_one(saved: Path) -> None:
    """Both are ranks of this LoRA, but the scaling would come from the wrong one."""
    change(saved, rank_pattern={"q_proj": 3, "k_proj": 4})
    with pytest.raises(IntegrityError, match=r"q_proj has rank 4, adapter_config\.json says 3"):
        read_plain_lora(saved)


def test_refuses_a_pattern_that_is_no_pattern(saved: Path) -> None:
    change(saved, rank_pattern={"(": 4})
    with pytest.raises(IntegrityError, match=r"adapter_config\.json: rank_pattern"):
        read_plain_lora(saved)


def test_refuses_damaged_files(saved: Path) -> None:
    tensors = load_file(saved / "adapter_model.safetensors")
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] * float("nan")}, saved / "adapter_model.safetensors")
    with pytest.raises(IntegrityError, match=r"adapter_model\.safetensors: tensor .* has NaN or Inf"):
        read_plain_lora(saved)
    (saved / "adapter_config.json").write_text("[]")
    with pytest.raises(IntegrityError, match=r"adapter_config\.json: is a JSON list"):
        read_plain_lora(saved)
    (saved / "adapter_config.json").unlink()
    with pytest.raises(StoreError, match=r"adapter_config\.json: is missing"):
        read_plain_lora(saved)
