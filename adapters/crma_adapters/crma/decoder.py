"""Where the blocks of a transformers decoder are, and which model families are supported."""

from torch import nn

from crma_adapters.errors import BaseModelError

FAMILIES = {
    "LlamaModel": "Llama",
    "MistralModel": "Mistral",
    "Qwen2Model": "Qwen2",
    "Qwen3Model": "Qwen3",
    "Gemma2Model": "Gemma-2",
    "Gemma3TextModel": "Gemma-3 (text)",
}


def decoder(model: nn.Module) -> nn.Module:
    """The one module of `model` that runs the blocks, found inside any wrapper (a causal LM, a `PeftModel`).

    Raises `BaseModelError` for a family that is not supported.
    """
    found = [module for module in model.modules() if _is_decoder(module)]
    if len(found) != 1:
        raise BaseModelError(
            f"{type(model).__name__} has {len(found)} decoders of a supported family, expected 1; "
            f"use a model of {', '.join(FAMILIES.values())}"
        )
    return found[0]


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The blocks of `model`'s decoder, first to last. Raises `BaseModelError` for an unsupported family."""
    layers = decoder(model).layers
    assert isinstance(layers, nn.ModuleList)
    return layers


def is_checkpointed(layer: nn.Module) -> bool:
    """Whether a block runs again in the backward pass.

    transformers' `model.is_gradient_checkpointing` tells the same, but looks at every module of the model
    each time: 1 % of a small model's training step.
    """
    return bool(getattr(layer, "gradient_checkpointing", False))


def hidden_size(layer: nn.Module) -> int:
    """d, the width of the residual stream that a block reads and writes."""
    return int(layer.get_submodule("input_layernorm").weight.shape[0])  # type: ignore[index]


def _is_decoder(module: nn.Module) -> bool:
    return any(base.__name__ in FAMILIES for base in type(module).__mro__)
