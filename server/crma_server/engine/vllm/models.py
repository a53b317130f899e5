"""The served model classes: vLLM's own, each decoder layer ending in a residual mixer.

Owns: one class per supported family. Imported by vLLM only, by name, when a model of that family is built.
"""

from typing import Any

from vllm.config import VllmConfig
from vllm.model_executor.models.gemma2 import Gemma2ForCausalLM
from vllm.model_executor.models.gemma3 import Gemma3ForCausalLM
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.mistral import MistralForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM

from crma_server.engine.vllm.mixer import add_residual_mixers


class MixedModel:
    """Mixin over a family's causal language model that adds the mixers once it is built."""

    config: Any
    model: Any

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        add_residual_mixers(self.model.layers, self.config.hidden_size, prefix)


class CrmaLlamaForCausalLM(MixedModel, LlamaForCausalLM):  # type: ignore[misc]
    pass


class CrmaMistralForCausalLM(MixedModel, MistralForCausalLM):  # type: ignore[misc]
    pass


class CrmaQwen2ForCausalLM(MixedModel, Qwen2ForCausalLM):  # type: ignore[misc]
    pass


class CrmaQwen3ForCausalLM(MixedModel, Qwen3ForCausalLM):  # type: ignore[misc]
    pass


class CrmaGemma2ForCausalLM(MixedModel, Gemma2ForCausalLM):  # type: ignore[misc]
    pass


class CrmaGemma3ForCausalLM(MixedModel, Gemma3ForCausalLM):  # type: ignore[misc]
    pass
