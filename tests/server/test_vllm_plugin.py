from importlib.metadata import entry_points

import pytest
from vllm import ModelRegistry
from vllm.platforms import current_platform
from vllm.utils.import_utils import resolve_obj_by_qualname

from crma_server.architectures import CRMA_ARCHITECTURES
from crma_server.vllm_plugin import PUNICA_WRAPPER, register
from crma_server.vllm_punica import GroupedPunicaWrapper


def test_vllm_finds_it_by_its_entry_point() -> None:
    [plugin] = entry_points(group="vllm.general_plugins", name="crma")
    assert plugin.load() is register


def test_architectures_are_known_after_any_number_of_calls() -> None:
    register()
    register()
    assert set(CRMA_ARCHITECTURES.values()) <= set(ModelRegistry.get_supported_archs())


def test_every_registered_class_exists() -> None:
    import crma_server.vllm_models as models

    for hf_architecture, architecture in CRMA_ARCHITECTURES.items():
        assert issubclass(getattr(models, architecture), getattr(models, hf_architecture))


@pytest.mark.skipif(not current_platform.is_cpu(), reason="GPUs keep vLLM's kernels")
def test_cpu_engine_gets_the_grouped_kernel() -> None:
    register()
    assert resolve_obj_by_qualname(current_platform.get_punica_wrapper()) is GroupedPunicaWrapper
    assert current_platform.get_punica_wrapper() == PUNICA_WRAPPER
