"""What this project changes in vLLM. Run in every vLLM process, by the entry point `vllm.general_plugins`.

Owns: registering the model classes and, on CPU, the LoRA kernel and compiling with it. Imports none of them
until vLLM asks for them.
"""

from crma_server.engine.vllm.architectures import CRMA_ARCHITECTURES
from crma_server.engine.vllm.cpu.compile import allow_compiling
from crma_server.engine.vllm.processes import die_with_parent, hush_chatter

PUNICA_WRAPPER = "crma_server.engine.vllm.cpu.punica.GroupedPunicaWrapper"


def register() -> None:
    """Teach this process's vLLM to serve CRMA. May be called any number of times."""
    die_with_parent()
    hush_chatter()
    from vllm import ModelRegistry
    from vllm.platforms import current_platform

    registered = ModelRegistry.get_supported_archs()
    for architecture in CRMA_ARCHITECTURES.values():
        if architecture not in registered:
            ModelRegistry.register_model(architecture, f"crma_server.engine.vllm.models:{architecture}")
    if current_platform.is_cpu():
        allow_compiling(type(current_platform))
        type(current_platform).get_punica_wrapper = classmethod(lambda _: PUNICA_WRAPPER)
