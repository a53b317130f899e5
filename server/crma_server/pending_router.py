"""A router on its way into memory while the engine starts.

Owns: loading it on a thread, once per process: its embedder takes seconds, in which the engine can start too.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crma_router.router import Router


class PendingRouter:
    """The router in a folder. Sent to another process, it is loaded there again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loading: Future[Router] | None = None

    def start(self) -> None:
        """Begin to load, if that has not begun."""
        if self._loading is None:
            threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crma-router-load")
            self._loading = threads.submit(Router.load, self._folder)
            threads.shutdown(wait=False)

    def result(self) -> Router:
        """Wait for it. Raises `RouterError` if it cannot be loaded."""
        self.start()
        assert self._loading is not None
        return self._loading.result()

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_loading": None}
