"""What a server's processes hold: memory and open files, as Linux tells.

Owns: reading /proc. Knows nothing of what the processes do.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import ConfigError

PROC = Path("/proc")


@dataclass(frozen=True)
class Held:
    """What all processes of a tree hold together. Memory they share counts once for each of them."""

    processes: int
    rss_bytes: int
    open_files: int


def held_by(pid: int) -> Held:
    """What process `pid` and its descendants hold. Raises `ConfigError` if it does not run."""
    found = list(_held(pid))
    if not found:
        raise ConfigError(f"process {pid} cannot be looked at: expected one that runs, on Linux")
    return Held(len(found), sum(rss for rss, _ in found), sum(files for _, files in found))


def children_of(pid: int) -> set[int]:
    """The processes that `pid` started itself and that still run."""
    found: set[int] = set()
    for task in (PROC / str(pid) / "task").glob("*"):
        with suppress(OSError):  # a thread that has just ended
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def _held(pid: int) -> Iterator[tuple[int, int]]:
    """Resident bytes and open files of each process. One that has just ended is left out."""
    try:
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        yield pages * os.sysconf("SC_PAGE_SIZE"), len(list((PROC / str(pid) / "fd").iterdir()))
    except OSError:
        return
    for child in children_of(pid):
        yield from _held(child)
