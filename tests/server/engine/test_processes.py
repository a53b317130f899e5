"""How processes of the engine end, tried on small ones of the same making."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from crma_server.engine.vllm.plugin import QUIET, VARIABLE, hush_chatter

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")

# A front, a child that it starts as vLLM starts its engine core, and a grandchild as that starts a worker.
TREE = """
import asyncio, multiprocessing, signal, sys, time
from contextlib import asynccontextmanager
from crma_server.engine.vllm.plugin import die_with_parent, stoppable

def child(deeper):
    signal.signal(signal.SIGTERM, lambda *_: None)  # as an engine core that is being built
    die_with_parent()
    if deeper:
        multiprocessing.get_context("spawn").Process(target=child, args=(deeper - 1,)).start()
    else:
        open(sys.argv[1], "w").close()
    time.sleep(600)

@asynccontextmanager
async def build():
    multiprocessing.get_context("spawn").Process(target=child, args=(1,)).start()
    time.sleep(600)
    yield

async def main():
    async with stoppable(build)():
        pass

if __name__ == "__main__":
    asyncio.run(main())
"""


def start_tree(folder: Path) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    script, there = folder / "tree.py", folder / "there"
    script.write_text(TREE)
    front = subprocess.Popen([sys.executable, str(script), str(there)], env=os.environ | {VARIABLE: "1"})
    end_s = time.monotonic() + 60
    while not there.exists():
        assert front.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.05)
    children = psutil.Process(front.pid).children(recursive=True)
    assert len([each for each in children if "spawn_main" in " ".join(each.cmdline())]) == 2
    return front, children


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_start_ends_at_once_and_leaves_nobody(tmp_path: Path, number: signal.Signals) -> None:
    front, children = start_tree(tmp_path)
    front.send_signal(number)
    status = front.wait(10)
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_a_plain_server_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    process = multiprocessing.get_context("spawn").Process(target=_ask_for_signal)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def _ask_for_signal() -> None:
    import ctypes

    from crma_server.engine.vllm.plugin import die_with_parent

    die_with_parent()
    told = ctypes.c_int(-1)
    ctypes.CDLL(None).prctl(2, ctypes.byref(told), 0, 0, 0)  # PR_GET_PDEATHSIG
    sys.exit(told.value)


@pytest.mark.parametrize("quiet", ["1", ""])
def test_warnings_pass_and_chatter_does_not(monkeypatch: pytest.MonkeyPatch, quiet: str) -> None:
    monkeypatch.setenv(QUIET, quiet)
    chatter = logging.getLogger("vllm.platforms.cpu")
    before = chatter.level
    logging.getLogger("vllm").setLevel(logging.WARNING)
    try:
        hush_chatter()
        assert chatter.isEnabledFor(logging.WARNING) is (quiet == "")
        # Where vLLM says that it ignores a field of a request, `guided_choice` for one.
        assert logging.getLogger("vllm.entrypoints.serve.engine.protocol").isEnabledFor(logging.WARNING)
    finally:
        chatter.setLevel(before)
