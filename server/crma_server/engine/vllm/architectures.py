"""Which model families can be served with CRMA, and under which engine architecture.

Owns: the mapping from a model's own Hugging Face architecture to this project's. Does not know vLLM.
"""

from collections.abc import Sequence

from crma_adapters.errors import BaseModelError

CRMA_FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3")

CRMA_ARCHITECTURES: dict[str, str] = {
    f"{family}ForCausalLM": f"Crma{family}ForCausalLM" for family in CRMA_FAMILIES
}


def crma_architecture(hf_architectures: Sequence[str]) -> str:
    """The engine architecture that serves a model whose config.json lists `hf_architectures`.

    Raises:
        BaseModelError: none of them is of a supported family.
    """
    for architecture in hf_architectures:
        if architecture in CRMA_ARCHITECTURES:
            return CRMA_ARCHITECTURES[architecture]
    raise BaseModelError(
        f"the base model's architecture is {', '.join(hf_architectures) or 'not stated in its config.json'}; "
        f"CRMA can be served on {', '.join(CRMA_ARCHITECTURES)}: choose a base model of one of these families"
    )
