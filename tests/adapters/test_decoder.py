"""The blocks of every supported family are found, in any wrapper; others are refused by name."""

import pytest
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration

from crma_adapters.crma.decoder import decoder, decoder_layers, hidden_size
from crma_adapters.errors import BaseModelError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text")
SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
}


def tiny(family: str) -> nn.Module:
    model: nn.Module = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SIZES))
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_finds_the_blocks_of_every_family(family: str) -> None:
    model = tiny(family)
    layers = decoder_layers(model)
    assert [type(layer).__name__.endswith("DecoderLayer") for layer in layers] == [True, True]
    assert decoder(model).layers is layers
    assert hidden_size(layers[0]) == 16


def test_finds_them_through_peft() -> None:
    model = tiny("llama")
    layers = decoder_layers(model)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["down_proj"], task_type="CAUSAL_LM"))
    assert decoder_layers(adapted) is layers
    assert hidden_size(layers[0]) == 16


def test_finds_the_language_model_of_a_multimodal_gemma() -> None:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(text_config=SIZES, vision_config=vision, mm_tokens_per_image=4)
    model = Gemma3ForConditionalGeneration(config)
    assert decoder_layers(model) is model.model.language_model.layers


@pytest.mark.parametrize("family", ["gpt2", "mixtral"])
def test_other_families_are_refused_by_name(family: str) -> None:
    sizes = {"vocab_size": 32, "num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16}
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(family, **sizes, num_attention_heads=2, num_key_value_heads=1)
    )
    with pytest.raises(BaseModelError, match=r"expected 1; use a model of Llama, Mistral, .* Gemma-3"):
        decoder_layers(model)
