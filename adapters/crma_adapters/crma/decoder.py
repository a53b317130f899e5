"""Where the blocks of a transformers decoder are.

Owns: which model families are supported and how their blocks are found. Knows nothing of CRMA.
"""

from torch import Tensor, nn

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


def down_projection(layer: nn.Module) -> Tensor:
    """Weight (d, intermediate) of a block's down projection, also below a PEFT layer.

    Raises `BaseModelError` if it is not a plain floating-point matrix (a quantised model).
    """
    linear = layer.get_submodule("mlp.down_proj")
    weight = getattr(linear, "base_layer", linear).weight
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise BaseModelError(
            f"the down projection of {type(layer).__name__} is not a plain floating-point matrix; "
            "load the base model unquantised to start a CRMA from it"
        )
    return weight.detach()


def _is_decoder(module: nn.Module) -> bool:
    return any(base.__name__ in FAMILIES for base in type(module).__mro__)
