"""A model runs through its CRMA while attached, whatever its layers return, checkpointed or not."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from crma_adapters.crma.attach import attach
from crma_adapters.crma.config import MODES, CrmaConfig, Mode
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.decoder import decoder_layers
from crma_adapters.errors import BaseModelError, ConfigError, IncompatibleError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text")
TOKENS = torch.arange(1, 13).reshape(2, 6)


def tiny(family: str = "llama", dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=0,
    )
    return AutoModelForCausalLM.from_config(config).to(dtype)


def strong_crma(model: nn.Module, mode: Mode = "residual") -> Crma:
    """Far from its start, so that its effect is plain."""
    crma = Crma.from_model(model, mode=mode, rank=4)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in crma.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
        for index in range(3):
            crma.block(index).write.mul_(0.4)
    return crma


class TupleLayer(nn.Module):
    """A decoder layer as transformers 4 had it: returns (hidden, *rest)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.input_layernorm = layer.input_layernorm

    def forward(self, hidden: Tensor, **rest: Any) -> tuple[Tensor, str]:
        return self.layer(hidden, **rest), "rest"


class FromTuple(nn.Module):
    """Undoes `TupleLayer`, so that the tiny model around it still runs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, **rest: Any) -> Tensor:
        mixed, kept = self.layer(hidden, **rest)
        assert kept == "rest"
        assert isinstance(mixed, Tensor)
        return mixed


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_every_block_output_is_mixed(family: str, mode: Mode) -> None:
    """Against the same model with each layer's forward wrapped by hand."""
    model = tiny(family).eval()
    crma = strong_crma(model, mode)
    with torch.no_grad():
        base = model(TOKENS).logits
        with attach(model, crma):
            attached = model(TOKENS).logits
        for index, layer in enumerate(decoder_layers(model)):
            original, block = layer.forward, crma.block(index)
            layer.forward = lambda *a, original=original, block=block, **k: block(original(*a, **k))
        torch.testing.assert_close(attached, model(TOKENS).logits, atol=1e-6, rtol=1e-5)
    assert (attached - base).abs().max() > 1e-4


def test_several_stand_side_by_side() -> None:
    """h' = h + the sum of what each adds to the same h; only the given order of summation differs."""
    model = tiny().eval()
    one, other = strong_crma(model), strong_crma(model, "free")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(-0.7)
        with attach(model, one, other):
            together = model(TOKENS).logits
        for index, layer in enumerate(decoder_layers(model)):
            first, second, original = one.block(index), other.block(index), layer.forward
            layer.forward = lambda *a, f=first, s=second, o=original, **k: f(h := o(*a, **k)) + s(h) - h
        torch.testing.assert_close(together, model(TOKENS).logits, atol=1e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match="no CRMA was given"):
        attach(tiny())


def test_dropout_is_for_training_only() -> None:
    model = tiny()
    crma = strong_crma(model)
    with torch.no_grad(), attach(model, crma):
        model.eval()
        whole = model(TOKENS).logits
        crma.dropout = 0.5
        assert torch.equal(model(TOKENS).logits, whole)
        model.train()
        assert not torch.equal(model(TOKENS).logits, model(TOKENS).logits)


def test_layers_that_return_tuples() -> None:
    model = tiny().eval()
    crma = strong_crma(model)
    with torch.no_grad():
        with attach(model, crma):
            expected = model(TOKENS).logits
        layers = decoder_layers(model)
        for index, layer in enumerate(layers):
            layers[index] = TupleLayer(layer)
        with attach(model, crma):
            for index, layer in enumerate(layers):
                layers[index] = FromTuple(layer)
            assert torch.equal(model(TOKENS).logits, expected)


def test_detach_and_disable_give_the_base_model_back() -> None:
    model = tiny().eval()
    base = model(TOKENS).logits
    with attach(model, strong_crma(model)) as attachment:
        mixed = model(TOKENS).logits
        attachment.enabled = False
        assert torch.equal(model(TOKENS).logits, base)
        attachment.enabled = True
        assert torch.equal(model(TOKENS).logits, mixed)
    assert torch.equal(model(TOKENS).logits, base)
    attachment.detach()
    assert not any(layer._forward_hooks for layer in decoder_layers(model))


def test_detaches_when_the_body_fails() -> None:
    model = tiny()
    with pytest.raises(RuntimeError, match="on purpose"), attach(model, strong_crma(model)):
        raise RuntimeError("on purpose")
    assert not any(layer._forward_hooks for layer in decoder_layers(model))


def test_works_through_peft_and_trains_both() -> None:
    model = tiny()
    crma = strong_crma(model)
    with attach(model, crma):
        expected = model(TOKENS).logits
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    with attach(adapted, crma):
        output = adapted(TOKENS, labels=TOKENS)
        output.loss.backward()
    torch.testing.assert_close(output.logits, expected)  # a fresh LoRA changes nothing
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert any(parameter.grad is not None and parameter.grad.norm() > 0 for parameter in trained)
    assert all(parameter.grad is not None for parameter in crma.parameters())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_are_the_same_checkpointed(mode: Mode, reentrant: bool) -> None:
    """Two accumulated passes, so that nothing of the first may be left over in the second."""
    plain, checkpointed = (gradients(mode, reentrant) for reentrant in (None, reentrant))
    assert plain.keys() == checkpointed.keys()
    for name, expected in plain.items():
        difference = (checkpointed[name] - expected).norm() / expected.norm()
        assert difference <= 1e-5, name  # float32, products of all blocks at once or each alone: up to 7e-6


def gradients(mode: Mode, reentrant: bool | None) -> dict[str, Tensor]:
    model = tiny().train()
    model.requires_grad_(False)
    crma = strong_crma(model, mode)
    if reentrant is not None:
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model.enable_input_require_grads()
    with attach(model, crma):
        for labels in (TOKENS, TOKENS.flip(1)):
            model(TOKENS, labels=labels).loss.backward()
    found = {name: p.grad for name, p in crma.named_parameters() if p.requires_grad}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def test_each_step_sees_the_parameters_it_has() -> None:
    """Nothing solved for one step is used in the next."""
    model = tiny().eval()
    crma = strong_crma(model)
    fresh = Crma(crma.config, [torch.zeros(16, 4)] * 3)
    with attach(model, crma):
        model(TOKENS)
        with torch.no_grad():
            for index in range(3):
                crma.block(index).logits.normal_(std=2.0)
        second = model(TOKENS).logits
    fresh.load_state_dict(crma.state_dict())
    with attach(model, fresh):
        assert torch.equal(model(TOKENS).logits, second)


def test_generation_with_a_cache_equals_generation_without() -> None:
    model = tiny().eval()
    with attach(model, strong_crma(model)):
        cached, plain = (
            model.generate(TOKENS, max_new_tokens=5, do_sample=False, use_cache=use) for use in (True, False)
        )
    assert torch.equal(cached, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_keeps_the_models_dtype(dtype: torch.dtype) -> None:
    model = tiny(dtype=dtype)
    crma = Crma.from_model(model, rank=4)
    assert all(parameter.dtype == torch.float32 for parameter in crma.parameters())
    with attach(model, crma):
        output = model(TOKENS, labels=TOKENS)
        output.loss.backward()
    assert output.logits.dtype == dtype
    assert all(parameter.grad is not None for parameter in crma.parameters())


def test_records_the_size_of_the_update() -> None:
    model = tiny().eval()
    with attach(model, strong_crma(model)) as attachment:
        model(TOKENS)
        assert attachment.update_ratio is None
        attachment.record_updates = True
        model(TOKENS)
        assert attachment.update_ratio is not None
        assert 0.01 < attachment.update_ratio < 10


def test_refuses_what_does_not_fit() -> None:
    model = tiny()
    other = Crma(CrmaConfig(hidden_size=8, num_layers=3, rank=4), [torch.eye(8, 4)] * 3)
    with pytest.raises(IncompatibleError, match=r"3 blocks of size 8 does not fit a model .* of size 16"):
        attach(model, other)
    with pytest.raises(BaseModelError, match="use a model of Llama"):
        attach(nn.Linear(2, 2), other)
    with attach(model, Crma.from_model(model, rank=4)), pytest.raises(ConfigError, match="attached already"):
        attach(model, Crma.from_model(model, rank=4))
