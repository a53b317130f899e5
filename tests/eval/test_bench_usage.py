"""What a process tree used, on real processes."""

import subprocess
import sys

import pytest

from crma_eval.bench.usage import usage_of

# A parent whose child takes 0.3 s of CPU and 80 MB, ends, and is waited for; then one line.
BUSY = """
import subprocess, sys
busy = "import time; x = bytearray(80 << 20)\\nwhile time.process_time() < 0.3: pass\\n"
work = busy + "print(1, flush=True); input()"
child = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("child works", flush=True); input()
child.communicate(b"\\n")
print("child ended", flush=True); input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_children_count_while_they_run_and_after() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        during = usage_of(process.pid)
        process.stdin.write("\n")
        process.stdout.readline()
        after = usage_of(process.pid)
        process.stdin.write("\n")
    assert 0.3 <= during.cpu_s < 5
    assert during.cpu_s <= after.cpu_s
    assert during.peak_bytes > 80 * 2**20 > after.peak_bytes


def test_a_process_that_is_gone_used_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert usage_of(process.pid).cpu_s == 0
