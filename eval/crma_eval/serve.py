"""A server process of an evaluation's own, `crma-serve` as a rule: started, waited for, always stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class ServerProcess:
    """A server that was started. Its `process` leads a session of its own, `log` takes all it says."""

    process: subprocess.Popen[bytes]
    log: Path
    name: str = "crma-serve"

    def wait_until_ready(self, timeout_s: float, address: Callable[[], str | None] | None = None) -> str:
        """Its address: what `address` tells once it is ready, `self.address` unless given.

        Raises `ConfigError` if it ends before it is ready, or is not ready in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None  # before reading: one that ended has said all it will
            if found := (address or self.address)():
                return found
            if ended or time.monotonic() > deadline_s:
                what = (
                    f"ended with status {self.process.returncode}" if ended else f"took over {timeout_s:g} s"
                )
                raise ConfigError(
                    f"{self.name} {what} before it was ready, its last words: {self.last_words()}; all of "
                    f"them are in {self.log}"
                )
            time.sleep(0.2)

    def address(self) -> str | None:
        """Where it answers, once it is ready."""
        for line in self.said():
            if line.startswith(READY) and line.endswith("\n"):
                return line.removeprefix(READY).strip()
        return None

    def said(self) -> list[str]:
        """The lines of its log, the last one perhaps half written."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)

    def last_words(self) -> str:
        """The end of its log in one line."""
        return " / ".join(line.strip() for line in self.said()[-_QUOTED_LINES:] if line.strip()) or "none"

    def stop(self) -> None:
        """Ask it to stop, and see to it that all of it does."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.kill()  # engine processes that outlived it

    def kill(self) -> None:
        """SIGKILL to its whole group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start_server(
    adapters: Path,
    log: Path,
    *,
    model: str | None = None,
    flags: Sequence[str] = (),
    command: Sequence[str] = COMMAND,
    environment: Mapping[str, str] | None = None,
) -> ServerProcess:
    """Start serving the store `adapters` on a free port; `log` is written anew.

    `model` None: the release's own. `flags` are any of crma-serve's. `environment` adds to this process's.
    Start it from the main thread: Linux ends the server with the thread that started it.
    """
    chosen = ("--model", model) if model else ()
    where = ("--adapters", str(adapters), "--port", str(free_port()))
    return ServerProcess(launch([*command, *where, *chosen, *flags], log, environment), log)


def launch(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` as the leader of a session of its own; `log` is written anew, folders made.

    `environment` adds to this process's.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as said:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours; the server is stopped in order
            env=os.environ | dict(environment or {}),
        )


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
    """Serve the store `adapters`, as `start_server`; yields the server's address once it is ready.

    `started` is given the id of its process.

    Raises:
        ConfigError: the server ended before it was ready, or was not ready in time.
    """
    server = start_server(adapters, log, model=model, flags=flags, command=command)
    started(server.process.pid)
    try:
        yield server.wait_until_ready(ready_timeout_s)
    finally:
        server.stop()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
