"""A domain's LoRA: identity at first, the same bytes for the same weights, gone when removed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from crma_adapters.errors import ConfigError
from crma_training.config import TrainConfig
from crma_training.lora import DomainLora
from crma_training.saved_lora import SavedLora

IDS = torch.tensor([[3, 4, 5, 6]])
CONFIG = TrainConfig(target_modules=("q_proj", "down_proj"))


@pytest.fixture
def model(base_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base_model).requires_grad_(False).eval()


def disturb(lora: DomainLora) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in lora.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 10


def test_a_fresh_one_changes_nothing_and_follows_from_its_seed(model: Any) -> None:
    before = model(IDS).logits
    lora = DomainLora.fresh(model, CONFIG, seed=3)
    assert torch.equal(model(IDS).logits, before)
    first = [parameter.detach().clone() for parameter in lora.parameters()]
    assert len(first) == 2 * 2 * 2  # A and B of two modules in two blocks
    lora.remove()
    again = DomainLora.fresh(model, CONFIG, seed=3).parameters()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_only_the_lora_learns(model: Any) -> None:
    lora = DomainLora.fresh(model, CONFIG, seed=3)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning
    assert all(".lora_" in name for name in learning)
    assert len(learning) == len(lora.parameters())


def test_removing_it_restores_the_model_exactly(model: Any) -> None:
    names, before = [name for name, _ in model.named_modules()], model(IDS).logits
    lora = DomainLora.fresh(model, CONFIG, seed=3)
    disturb(lora)
    assert not torch.allclose(model(IDS).logits, before)
    lora.remove()
    assert torch.equal(model(IDS).logits, before)
    assert [name for name, _ in model.named_modules()] == names


def test_saved_bytes_follow_from_the_weights_and_name_no_path(model: Any, tmp_path: Path) -> None:
    lora = DomainLora.fresh(model, CONFIG, seed=3)
    disturb(lora)
    lora.save(tmp_path / "one", "tiny")
    lora.save(tmp_path / "two", "tiny")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert {
        tensor.dtype for tensor in load_file(tmp_path / "one" / "adapter_model.safetensors").values()
    } == {torch.bfloat16}
    settings = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "tiny"
    assert settings["target_modules"] == ["down_proj", "q_proj"]


def test_what_is_loaded_is_what_peft_loads(model: Any, base_model: Path, tmp_path: Path) -> None:
    lora = DomainLora.fresh(model, CONFIG, seed=3)
    disturb(lora)
    lora.save(tmp_path, "tiny")
    lora.load(tmp_path)
    loaded = model(IDS).logits
    lora.remove()
    again = DomainLora.saved(model, tmp_path)
    assert torch.equal(model(IDS).logits, loaded)
    again.remove()
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_model), str(tmp_path)).eval()
    torch.testing.assert_close(peft(IDS).logits, loaded)


def test_unknown_target_modules_are_a_config_error(model: Any) -> None:
    with pytest.raises(ConfigError, match="--target-modules c_attn: this model has no such layers"):
        DomainLora.fresh(model, TrainConfig(target_modules=("c_attn",)), seed=0)


@pytest.mark.parametrize(
    ("targets", "modules"),
    [
        (("all-linear",), {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        ((r".*\.layers\.1\.self_attn\.(q|v)_proj",), {"q_proj", "v_proj"}),
    ],
)
def test_target_modules_by_name_of_all_or_by_expression(
    model: Any, targets: tuple[str, ...], modules: set[str]
) -> None:
    lora = DomainLora.fresh(model, TrainConfig(target_modules=targets), seed=0)
    layers = set(lora.layers())
    assert {name.rpartition(".")[2] for name in layers} == modules
    assert any("layers.0." in name for name in layers) == (targets == ("all-linear",))
    assert not any("lm_head" in name for name in layers)


def test_dropout_works_in_training_only_and_rs_lora_scales_by_the_root(
    model: Any, base_model: Path, tmp_path: Path
) -> None:
    config = TrainConfig(target_modules=("q_proj",), rank=16, lora_alpha=8, lora_dropout=0.5, use_rslora=True)
    lora = DomainLora.fresh(model, config, seed=3)
    disturb(lora)
    model.eval()
    first, second = model(IDS).logits, model(IDS).logits
    assert torch.equal(first, second)
    model.train()
    assert not torch.equal(model(IDS).logits, model(IDS).logits)
    lora.save(tmp_path, "tiny")
    assert SavedLora.read(tmp_path).scaling == pytest.approx(8 / 16**0.5)
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_model), str(tmp_path)).eval()
    torch.testing.assert_close(loaded(IDS).logits, first, rtol=0, atol=2e-2)  # saved in bfloat16
