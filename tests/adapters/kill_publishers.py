"""Kills publishers at random moments; `test_store` runs it. A process of its own, for it forks.

usage: kill_publishers.py STORE KILLS FOLDER FOLDER: adapter folders of domain `medical`. A publisher makes
one live, tries the other as a canary, promotes it, goes back and collects, again and again. KILLS is how
many to kill at least; it goes on until three were caught half done. Prints how many of how many.
"""

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crma_adapters.store.collection import collect
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release


def publish(store: Store, folder: Path) -> Release:
    with store.publishing():
        live = store.live()
        entry = replace(live.adapters["medical"], part=store.add_adapter("medical", folder), canary=None)
        return store.publish(
            base_model=live.base_model,
            base_fingerprint=live.base_fingerprint,
            backbone=live.backbone,
            adapters=live.adapters | {"medical": entry},
            router=live.router,
        )


def changes(root: Path, folders: list[Path]) -> list[Callable[[], object]]:
    """Every way to change a store, in an order in which each can follow the one before it."""
    store, (one, two) = Store(root), folders

    def try_two() -> None:
        store.set_canary("medical", store.add_adapter("medical", two).version, weight=0.5)

    return [
        lambda: publish(store, one),
        try_two,
        lambda: store.drop_canary("medical"),
        try_two,
        lambda: store.promote("medical"),
        lambda: store.rollback(store.live().number - 1),
        lambda: collect(store, keep=2),
    ]


def kill_a_publisher(root: Path, folders: list[Path], after_s: float) -> None:
    """Fork a publisher that never stops, and SIGKILL it some time after its first release."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        for change in itertools.cycle(changes(root, folders)):
            change()
            os.write(write, b"x")
    os.close(write)
    os.read(read, 1)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the publisher failed before it was killed"
    os.close(read)


def main(root: Path, least: int, folders: list[Path]) -> None:
    chance = random.Random(0)
    publish(Store(root), folders[0])  # the first is slower: it makes the checkers of documents
    started = time.monotonic()
    for change in changes(root, folders):
        change()
    round_s = time.monotonic() - started
    kills = half_done = 0
    while kills < least or half_done < 3:
        before = Store(root).live()
        kill_a_publisher(root, folders, chance.uniform(0, round_s))
        kills += 1
        half_done += any(root.glob(".tmp-*"))
        store = Store(root)
        live = store.live()
        verify_release(store, live)
        assert live.number >= before.number, "a release was lost"
        assert store.releases()[-1] == live
    for folder in folders:
        assert publish(Store(root), folder) == Store(root).live()
    assert not list(root.glob(".tmp-*")), "leftovers were not cleaned up"
    print(f"{half_done} of {kills}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [Path(folder) for folder in sys.argv[3:]])
