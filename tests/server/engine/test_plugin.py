from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest
from vllm import ModelRegistry
from vllm.platforms import current_platform
from vllm.utils.import_utils import resolve_obj_by_qualname

from crma_adapters.crma.decoder import FAMILIES
from crma_adapters.errors import BaseModelError
from crma_server.engine.vllm.cpu.compile import VARIABLE, allow_compiling
from crma_server.engine.vllm.cpu.punica import GroupedPunicaWrapper
from crma_server.engine.vllm.plugin import (
    CRMA_ARCHITECTURES,
    CRMA_FAMILIES,
    PUNICA_WRAPPER,
    crma_architecture,
    register,
)


def test_vllm_finds_it_by_its_entry_point() -> None:
    [plugin] = entry_points(group="vllm.general_plugins", name="crma")
    assert plugin.load() is register


def test_architectures_are_known_after_any_number_of_calls() -> None:
    register()
    register()
    assert set(CRMA_ARCHITECTURES.values()) <= set(ModelRegistry.get_supported_archs())


def test_every_registered_class_exists() -> None:
    import crma_server.engine.vllm.models as models

    for hf_architecture, architecture in CRMA_ARCHITECTURES.items():
        assert issubclass(getattr(models, architecture), getattr(models, hf_architecture))


@pytest.mark.skipif(not current_platform.is_cpu(), reason="GPUs keep vLLM's kernels")
def test_cpu_engine_gets_the_grouped_kernel() -> None:
    register()
    assert resolve_obj_by_qualname(current_platform.get_punica_wrapper()) is GroupedPunicaWrapper
    assert current_platform.get_punica_wrapper() == PUNICA_WRAPPER


class _Platform:
    """As vLLM's CPU platform: with LoRA it lets nothing be compiled."""

    @classmethod
    def check_and_update_config(cls, vllm_config: SimpleNamespace) -> None:
        vllm_config.mode = "none" if vllm_config.lora_config or vllm_config.eager else "compile"


@pytest.mark.parametrize(
    ("asked", "lora", "eager", "mode"),
    [
        ("1", "lora", False, "compile"),
        ("1", "lora", True, "none"),
        ("", "lora", False, "none"),
        ("", None, False, "compile"),
    ],
)
def test_compiling_with_lora_is_for_those_who_ask(
    asked: str, lora: str | None, eager: bool, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, asked)
    platform: Any = type("Platform", (_Platform,), {})
    allow_compiling(platform)
    allow_compiling(platform)  # vLLM loads plugins in every process, some more than once
    config = SimpleNamespace(lora_config=lora, eager=eager)
    platform.check_and_update_config(config)
    assert (config.mode, config.lora_config) == (mode, lora)


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
