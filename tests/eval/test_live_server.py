"""The process around crma-serve, with small programs in its place."""

import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import httpx
import pytest

from crma_adapters.errors import ConfigError
from crma_eval import serve as module
from crma_eval.serve import live_server

SERVE = """
import http.server, json, os, subprocess, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([sys.argv[1:], os.getpid(), child.pid]).encode())
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
print("not ready: crma ready on nothing", flush=True)
print(f"crma ready on http://127.0.0.1:{port}", flush=True)
server.serve_forever()
"""


def program(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", textwrap.dedent(code)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def gone(pid: int) -> bool:
    deadline_s = time.monotonic() + 5
    while runs(pid) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return not runs(pid)


def test_serves_while_needed_and_takes_its_children_with_it(tmp_path: Path) -> None:
    log = tmp_path / "work" / "serve.log"
    with live_server(
        Path("store"), log, model="tiny", flags=("--dtype", "float32"), command=program(SERVE)
    ) as url:
        arguments, pid, child = httpx.get(url, trust_env=False).json()
        assert arguments[:2] == ["--adapters", "store"]
        assert arguments[4:] == ["--model", "tiny", "--dtype", "float32"]
        assert runs(pid) and runs(child)
    assert gone(pid) and gone(child)
    assert "crma ready on" in log.read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_stops_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), live_server(Path("s"), tmp_path / "log", command=program(SERVE)) as url:
        _, pid, child = httpx.get(url, trust_env=False).json()
        raise error
    assert gone(pid) and gone(child)


def test_quotes_the_last_words_of_a_server_that_ended(tmp_path: Path) -> None:
    code = "import sys; print('error: no store there; make one', file=sys.stderr); sys.exit(2)"
    expected = r"ended with status 2 before it was ready.*error: no store there; make one.*serve\.log"
    with (
        pytest.raises(ConfigError, match=expected),
        live_server(Path("s"), tmp_path / "serve.log", command=program(code)),
    ):
        pass


def test_gives_up_on_a_server_that_takes_too_long(tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with (
        pytest.raises(ConfigError, match=r"took over 1 s before it was ready"),
        live_server(Path("s"), tmp_path / "log", command=program(code), ready_timeout_s=1),
    ):
        pass
    assert gone(int((tmp_path / "log").read_text()))


def test_kills_a_server_that_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 0.2)
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE
    with live_server(Path("s"), tmp_path / "log", command=program(code)) as url:
        _, pid, _ = httpx.get(url, trust_env=False).json()
    assert gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end a child with its parent")
def test_a_killed_evaluation_leaves_no_server_behind(tmp_path: Path) -> None:
    """The real command's first lines, with a program in the place of crma-serve's main."""
    watched = module.COMMAND[-1].partition("from crma_server")[0]
    assert "prctl" in watched
    code = f"""
        import sys
        from pathlib import Path
        from crma_eval.serve import live_server
        command = (sys.executable, "-c", {(watched + SERVE)!r})
        with live_server(Path("s"), Path({str(tmp_path / "log")!r}), command=command) as url:
            print(url, flush=True)
            import time; time.sleep(60)
    """
    import subprocess

    with subprocess.Popen(program(code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        _, pid, child = httpx.get(parent.stdout.readline().strip(), trust_env=False).json()
        parent.send_signal(signal.SIGKILL)
    try:
        assert gone(pid)
    finally:
        os.kill(child, signal.SIGKILL)
