"""The served model classes: vLLM's own, each decoder layer ending in a residual mixer, the one module that
CRMA adds: a LoRA target on the residual stream."""

from functools import cache
from typing import Any

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.linear import LinearBase, ReplicatedLinear
from vllm.model_executor.models.gemma2 import Gemma2ForCausalLM
from vllm.model_executor.models.gemma3 import Gemma3ForCausalLM
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.mistral import MistralForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM
from vllm.model_executor.models.utils import PPMissingLayer, maybe_prefix

from crma_adapters.lora.lora_files import MIXER
from crma_server.engine.vllm.cpu.punica import GroupedPunicaWrapper


class ResidualMixer(ReplicatedLinear):  # type: ignore[misc]
    """The zero map (T, d) -> (T, d). It has no weights; it exists so that a LoRA can act where it stands.

    A `ReplicatedLinear`, as the residual stream is whole on every tensor-parallel rank and as vLLM's
    LoRA layer for it calls a subclass's own forward.
    """

    def __init__(self, hidden_size: int, prefix: str) -> None:
        # Not ReplicatedLinear's own: that one allocates a (d, d) weight and expects it in the checkpoint.
        LinearBase.__init__(self, hidden_size, hidden_size, prefix=prefix, return_bias=False, disable_tp=True)
        self.output_partition_sizes = [hidden_size]
        self.quant_method = None  # so that the loader finds no weights to process
        self.register_parameter("bias", None)
        # vLLM's LoRA layer asks its base layer's weight where to put the adapters.
        self.register_buffer("weight", torch.empty(0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


class CrmaDecoderLayer:
    """Mixin over a family's decoder layer: h' = h + residual_mixer(h), on the block's output h.

    vLLM's layers return (hidden_states, residual) with h = hidden_states + residual, the sum being left to
    the next norm; so the mixer reads the sum, and what it adds to either summand is added to h.
    """

    residual_mixer: nn.Module

    def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        hidden_states, residual = super().forward(*args, **kwargs)  # type: ignore[misc]
        return _add_mixed(self.residual_mixer, hidden_states, residual), residual


def _add_mixed(mixer: Any, hidden_states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """hidden_states + mixer(hidden_states + residual), (T, d); nothing known to be zero is computed."""
    if type(mixer) is ResidualMixer:
        return hidden_states
    kernel = getattr(mixer, "punica_wrapper", None)
    if not isinstance(kernel, GroupedPunicaWrapper):
        mixed: torch.Tensor = hidden_states + mixer(hidden_states + residual)
        return mixed
    weights = (mixer.lora_a_stacked, mixer.lora_b_stacked)
    if torch.compiler.is_compiling() or kernel.touches(*weights, mixer.output_slices):
        # In place: the layer made hidden_states for this sum, and no one else holds it.
        kernel.add_lora_linear(hidden_states, hidden_states + residual, *weights, 1.0, mixer.output_slices)
    return hidden_states


@cache
def crma_layer_class(layer_class: type[Any]) -> type[Any]:
    """The subclass of a family's decoder layer class that ends in a mixer."""
    return type(f"Crma{layer_class.__name__}", (CrmaDecoderLayer, layer_class), {})


def add_residual_mixers(layers: nn.ModuleList, hidden_size: int, prefix: str) -> None:
    """Give every decoder layer held on this pipeline rank a mixer, in place.

    Done on built layers, by changing their class, because only some families let the caller choose it, and
    not in one way. Weight names stay the family's own; nothing outside this model changes.
    """
    for index, layer in enumerate(layers):
        if isinstance(layer, PPMissingLayer):
            continue
        layer.residual_mixer = ResidualMixer(
            hidden_size, maybe_prefix(prefix, f"model.layers.{index}.{MIXER}")
        )
        layer_class: Any = type(layer)
        layer.__class__ = crma_layer_class(layer_class)


class CrmaCausalLM:
    """Mixin over a family's causal language model that adds the mixers once it is built."""

    config: Any
    model: Any

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        add_residual_mixers(self.model.layers, self.config.hidden_size, prefix)


class CrmaLlamaForCausalLM(CrmaCausalLM, LlamaForCausalLM):  # type: ignore[misc]
    pass


class CrmaMistralForCausalLM(CrmaCausalLM, MistralForCausalLM):  # type: ignore[misc]
    pass


class CrmaQwen2ForCausalLM(CrmaCausalLM, Qwen2ForCausalLM):  # type: ignore[misc]
    pass


class CrmaQwen3ForCausalLM(CrmaCausalLM, Qwen3ForCausalLM):  # type: ignore[misc]
    pass


class CrmaGemma2ForCausalLM(CrmaCausalLM, Gemma2ForCausalLM):  # type: ignore[misc]
    pass


class CrmaGemma3ForCausalLM(CrmaCausalLM, Gemma3ForCausalLM):  # type: ignore[misc]
    pass
