"""vLLM's processes: they end at once while they start, never later than the one that started them, and say
what a user needs to hear."""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psutil

from crma_server.progress import report

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
