"""A `crma-serve` process of an evaluation's own: started on a free port, waited for, always stopped.

Owns: the process and its log. Knows nothing of what is asked.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from crma_adapters.errors import ConfigError

READY = "crma ready on "
STOP_TIMEOUT_S = 30
_QUOTED_LINES = 5

# If this process is killed so that it can clean up nothing, Linux stops the server with it.
_SERVE = """
import ctypes, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG
from crma_server.cli import main
raise SystemExit(main())
"""
COMMAND = (sys.executable, "-c", _SERVE)


@contextmanager
def live_server(
    adapters: Path,
    log: Path,
    *,
    model: str | None = None,
    flags: Sequence[str] = (),
    ready_timeout_s: float = 3600,
    command: Sequence[str] = COMMAND,
    started: Callable[[int], None] = lambda _: None,
) -> Iterator[str]:
    """Serve the store `adapters`; yields the server's address once it is ready. `log` takes all it says.

    `model` None: the release's own. `flags` are any of crma-serve's. `started` is given the id of its
    process, which leads a session of its own. Start it from the main thread: Linux ends the server with the
    thread that started it.

    Raises:
        ConfigError: the server ended before it was ready, or was not ready in time.
    """
    chosen = ("--model", model) if model else ()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "--adapters", str(adapters), "--port", str(_free_port()), *chosen, *flags],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours; the server is stopped in order
        )
    started(process.pid)
    try:
        yield _wait_until_ready(process, log, ready_timeout_s)
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> str:
    deadline_s = time.monotonic() + timeout_s
    while True:
        ended = process.poll() is not None  # before reading: a server that ended has said all it will
        said = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        for line in said:
            if line.startswith(READY) and line.endswith("\n"):
                return line.removeprefix(READY).strip()
        if ended or time.monotonic() > deadline_s:
            what = f"ended with status {process.returncode}" if ended else f"took over {timeout_s:g} s"
            last = " / ".join(line.strip() for line in said[-_QUOTED_LINES:] if line.strip())
            raise ConfigError(
                f"crma-serve {what} before it was ready, its last words: {last or 'none'}; all of them "
                f"are in {log}"
            )
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # engine processes that outlived it; it led their group


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
