"""A router on its way into memory while the engine starts, and the next one while the former is at work.

Owns: loading it on a thread, once per process: its embedder takes seconds, in which the engine can start too.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crma_router.classifier.artifact import load_model
from crma_router.router import Router


class PendingRouter:
    """The router in a folder. Sent to another process, it is loaded there again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loading: Future[Router] | None = None

    def start(self) -> None:
        """Begin to load, if that has not begun."""
        if self._loading is None:
            threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crma-router-load")
            self._loading = threads.submit(Router.load, self.folder)
            threads.shutdown(wait=False)

    def give(self, router: Router) -> None:
        """It has been loaded already."""
        self._loading = Future()
        self._loading.set_result(router)

    def result(self) -> Router:
        """Wait for it. Raises `RouterError` if it cannot be loaded."""
        self.start()
        assert self._loading is not None
        return self._loading.result()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_loading": None}


def load_router(folder: Path, former: Router | None) -> Router:
    """The router in `folder`, with the embedder of `former` if it was fitted with that one.

    An embedder takes seconds to load and most of a router's memory. Raises `RouterError` as `Router.load`.
    """
    if former is not None and load_model(folder).embedder == former.embedder.name:
        return Router.load(folder, former.embedder)
    return Router.load(folder)
