"""What this project changes in each of vLLM's processes (entry point `vllm.general_plugins`): the model
classes it knows, the CPU's LoRA kernel, how it ends, and what it says."""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psutil

from crma_adapters.errors import BaseModelError
from crma_server.engine.vllm.cpu.compile import allow_compiling
from crma_server.progress import report

CRMA_FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3")

CRMA_ARCHITECTURES: dict[str, str] = {
    f"{family}ForCausalLM": f"Crma{family}ForCausalLM" for family in CRMA_FAMILIES
}


# Set by `crma-serve`: the families' own architectures are served by the classes with CRMA's modules.
CRMA_MODELS = "CRMA_MODELS"


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


# Set by `crma-serve`, inherited by every process of it: a plain `vllm serve` is left as it is.
VARIABLE = "CRMA_DIE_WITH_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_RESOURCE_TRACKER = "multiprocessing.resource_tracker"  # ends by itself, and removes shared memory before


def die_with_parent() -> None:
    """Have this process killed when the one that started it ends, however that ends.

    For child processes of `crma-serve` on Linux; elsewhere vLLM's own pipes are all there is. A process whose
    parent is gone already ends here.
    """
    parent = multiprocessing.parent_process()
    if parent is None or os.environ.get(VARIABLE) != "1" or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent.pid:
        os._exit(1)


def stop_at_once(number: int, frame: Any) -> None:  # noqa: ARG001
    """A signal handler for the time before the engine answers: there is nothing to finish yet."""
    report("stopped while starting")
    for child in psutil.Process().children(recursive=True):
        try:
            if _RESOURCE_TRACKER not in " ".join(child.cmdline()):
                child.kill()
        except psutil.NoSuchProcess:
            pass
    os._exit(128 + number)


# Loggers whose warnings are about this machine or our own settings, at every start. `crma-serve` sets the
# variable unless vLLM's log was asked for. What others warn of, ignored request fields for one, is shown.
QUIET = "CRMA_QUIET"
_CHATTER = (
    "vllm.utils.system_utils",
    "vllm.platforms.cpu",
    "vllm.config.vllm",
    "vllm.v1.worker.cpu_worker",
    "vllm.v1.engine.input_processor",
)


def hush_chatter() -> None:
    """Show no warnings of loggers that have nothing to tell a user of `crma-serve`, in this process."""
    if os.environ.get(QUIET) == "1":
        for name in _CHATTER:
            logging.getLogger(name).setLevel(logging.ERROR)


EngineContext = Callable[..., AbstractAsyncContextManager[Any]]


def stoppable(build_engine: EngineContext) -> EngineContext:
    """`build_engine`, during which SIGTERM and SIGINT end everything at once.

    vLLM 0.32 turns them into KeyboardInterrupt and then waits for an engine core that does not listen until
    it is built. Its HTTP server puts its own handlers in the place of these.
    """

    @asynccontextmanager
    async def build(*args: Any, **options: Any) -> AsyncIterator[Any]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop_at_once)
        async with build_engine(*args, **options) as client:
            yield client

    return build


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
    if os.environ.get(CRMA_MODELS) == "1":
        for architecture, served in CRMA_ARCHITECTURES.items():
            ModelRegistry.register_model(architecture, f"crma_server.engine.vllm.models:{served}")
    if current_platform.is_cpu():
        allow_compiling(type(current_platform))
        type(current_platform).get_punica_wrapper = classmethod(lambda _: PUNICA_WRAPPER)
