"""When there may be a new release in a store.

Owns: hearing of changes of `release.json` from the operating system, and looking every second where it does
not tell. Knows nothing of what the file says: a change is only a reason to look.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, awatch

from crma_adapters.store.ledger import POINTER_FILE
from crma_server.progress import report

POLL_S = 1.0
_SETTLE_MS = 20
_LONGEST_MS = 200


async def changes(root: Path, *, poll: bool = False) -> AsyncIterator[None]:
    """Yields when the store's pointer may have changed: at once where the system tells, else every second.

    What it tells is not relied upon (a network file system says nothing of other machines' writing): the file
    is looked at every second besides. `poll`: do not even ask the system.
    """
    seen = _signature(root / POINTER_FILE)
    async for told in _ticks(root, poll=poll):
        found = _signature(root / POINTER_FILE)
        if told or found != seen:
            seen = found
            yield


async def _ticks(root: Path, *, poll: bool) -> AsyncIterator[bool]:
    """True when the system tells of a change, False every `POLL_S` without one."""
    if not poll:
        try:
            async for told in awatch(
                root,
                watch_filter=_is_pointer,
                debounce=_LONGEST_MS,
                step=_SETTLE_MS,
                rust_timeout=int(POLL_S * 1000),
                yield_on_timeout=True,
                recursive=False,
            ):
                yield bool(told)
        except (OSError, RuntimeError) as error:  # no watches left, or a file system without them
            report(f"{root} cannot be watched ({error}): looking every {POLL_S:g} s instead")
    while True:
        await asyncio.sleep(POLL_S)
        yield False


def _is_pointer(_: Change, path: str) -> bool:
    return Path(path).name == POINTER_FILE


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None while there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
