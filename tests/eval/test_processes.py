"""What processes hold and used, on real ones."""

import os
import subprocess
import sys

from crma_eval.serving.load.processes import footprint, running, session_of, tree_of, usage

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


def test_children_count_while_they_run_and_after() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        during = usage(tree_of(process.pid))
        process.stdin.write("\n")
        process.stdout.readline()
        after = usage(tree_of(process.pid))
        process.stdin.write("\n")
    assert 0.3 <= during.cpu_s < 5
    assert during.cpu_s <= after.cpu_s
    assert during.peak_bytes > 80 * 2**20 > after.peak_bytes


def test_a_process_that_is_gone_used_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert usage(tree_of(process.pid)).cpu_s == 0


def test_a_process_and_its_children_are_counted() -> None:
    code = (
        "import subprocess, sys, time; held = b'x' * 60_000_000;"
        "files = [open('/dev/null') for _ in range(30)];"
        "subprocess.Popen([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(30)'],"
        " close_fds=True).wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            _, child = tree_of(process.pid)
            both, one = footprint(tree_of(process.pid)), footprint(tree_of(child.pid))
            assert (both.processes, one.processes) == (2, 1)
            assert both.memory_bytes > 60_000_000 + one.memory_bytes
            assert both.files >= 30 + one.files
            assert {found.pid for found in session_of(process.pid)} == {process.pid, child.pid}
            process.kill()
            process.wait()
            assert running(tree_of(process.pid)) == 0
            assert [found.pid for found in session_of(process.pid)] == [child.pid]
        finally:
            os.killpg(process.pid, 9)
