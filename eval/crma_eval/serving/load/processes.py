"""What a server's processes take of the machine, and took so far."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

_T = TypeVar("_T")


@dataclass(frozen=True)
class Footprint:
    """`memory_bytes`: proportional set size, so that shared pages count once. `files`: open descriptors."""

    memory_bytes: int
    files: int
    processes: int


@dataclass(frozen=True)
class Usage:
    """`cpu_s`: user and system, ended children included. `peak_bytes`: each process' largest resident size,
    added up; memory they share counts once for each."""

    cpu_s: float
    peak_bytes: int


def tree_of(pid: int) -> list[psutil.Process]:
    """Process `pid` and its descendants; none if it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def session_of(leader: int) -> list[psutil.Process]:
    """Every process in the session led by process `leader`, whether that one has ended or not."""
    return [process for process in psutil.process_iter() if _session(process.pid) == leader]


def running(processes: Iterable[psutil.Process]) -> int:
    """How many of them have not ended."""
    return len(_of_each(processes, lambda one: one.pid))


def footprint(processes: Iterable[psutil.Process]) -> Footprint:
    """Of all of them together; those that have ended are left out."""
    found = _of_each(processes, lambda one: (one.memory_full_info().pss, one.num_fds()))
    return Footprint(sum(memory for memory, _ in found), sum(files for _, files in found), len(found))


def usage(processes: Iterable[psutil.Process]) -> Usage:
    """Of all of them together; those that have ended are left out."""
    found = _of_each(processes, lambda one: (sum(one.cpu_times()[:4]), _peak_bytes(one.pid)))
    return Usage(sum(cpu_s for cpu_s, _ in found), sum(peak_bytes for _, peak_bytes in found))


def _of_each(processes: Iterable[psutil.Process], read: Callable[[psutil.Process], _T]) -> list[_T]:
    found: list[_T] = []
    for process in processes:
        with suppress(psutil.Error, OSError):  # it has ended meanwhile
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(read(process))
    return found


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None


def _peak_bytes(pid: int) -> int:
    """Which psutil does not tell on Linux."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
