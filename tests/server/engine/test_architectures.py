import pytest

from crma_adapters.crma.decoder import FAMILIES
from crma_adapters.errors import BaseModelError
from crma_server.engine.vllm.architectures import CRMA_ARCHITECTURES, CRMA_FAMILIES, crma_architecture


def test_every_family_that_can_be_trained_can_be_served() -> None:
    assert {name.removesuffix("Model").removesuffix("Text") for name in FAMILIES} == set(CRMA_FAMILIES)


def test_first_supported_architecture_is_taken() -> None:
    assert crma_architecture(["Qwen3ForCausalLM"]) == "CrmaQwen3ForCausalLM"
    assert crma_architecture(["SomethingElse", "LlamaForCausalLM"]) == "CrmaLlamaForCausalLM"


@pytest.mark.parametrize("given", [["GPT2LMHeadModel"], []])
def test_other_families_are_refused_with_the_supported_ones(given: list[str]) -> None:
    with pytest.raises(BaseModelError) as raised:
        crma_architecture(given)
    assert all(name in str(raised.value) for name in [*given, *CRMA_ARCHITECTURES])
