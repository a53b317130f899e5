"""What a server's processes used so far: CPU time, and the most memory.

Owns: adding it up over a tree, from Linux's /proc. Knows nothing of what they do.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crma_eval.soak.process_tree import children_of

PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """`cpu_s`: user and system, ended children included. `peak_bytes`: each process' largest resident size,
    added up; memory they share counts once for each."""

    cpu_s: float
    peak_bytes: int


def usage_of(pid: int) -> Usage:
    """Of process `pid` and its descendants; nothing of one that has ended. Not on Linux: zeros."""
    cpu_s, peak_bytes = 0.0, 0
    for process in _tree(pid):
        with suppress(OSError):  # it has ended meanwhile
            cpu_s += _cpu_s(process)
            peak_bytes += _peak_bytes(process)
    return Usage(cpu_s, peak_bytes)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in children_of(pid):
        yield from _tree(child)


def _cpu_s(pid: int) -> float:
    # Behind the command's closing parenthesis, from the 14th on: utime stime cutime cstime (proc(5)).
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _peak_bytes(pid: int) -> int:
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
