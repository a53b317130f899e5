"""What a server's processes take of the machine.

Owns: adding it up over all of them, from Linux's /proc. Knows nothing of what they do.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Footprint:
    """`memory_bytes`: proportional set size, so that shared pages count once. `files`: open descriptors."""

    memory_bytes: int
    files: int
    processes: int


def footprint(session: int) -> Footprint:
    """Of every process in the session led by process `session`."""
    memory = files = processes = 0
    for process in _session(session):
        with suppress(OSError):  # it has ended meanwhile
            memory += _pss_bytes(process)
            files += len(list((process / "fd").iterdir()))
            processes += 1
    return Footprint(memory, files, processes)


def _session(leader: int) -> Iterator[Path]:
    for process in PROC.iterdir():
        if not process.name.isdecimal():
            continue
        with suppress(OSError):
            # Behind the command's closing parenthesis: state, parent, group, session (proc(5)).
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                yield process


def _pss_bytes(process: Path) -> int:
    for line in (process / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
